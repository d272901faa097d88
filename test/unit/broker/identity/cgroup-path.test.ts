import { expect, test } from "bun:test";
import { type CgroupPlace, parseCgroupPath } from "../../../../src/broker/identity/cgroup-path.ts";

const ID = "0123456789abcdef".repeat(4);
const USER = "/user.slice/user-1000.slice";

const PLACES: [path: string, place: Partial<CgroupPlace>][] = [
  ["/", {}],
  ["/init.scope", { unit: "init.scope" }],
  ["/system.slice", { slice: "system.slice" }],
  ["/system.slice/foo.service", { unit: "foo.service", slice: "system.slice" }],
  ["/foo.service", { unit: "foo.service" }],
  ["/a.slice/a-b.slice/foo@1.service", { unit: "foo@1.service", slice: "a-b.slice" }],
  ["/system.slice/foo.service/worker/3", { unit: "foo.service", slice: "system.slice" }],
  [
    "/system.slice/app.service/system.slice/sensord.service",
    { unit: "app.service", slice: "system.slice" },
  ],
  ["/system.slice/cups.socket", { unit: "cups.socket", slice: "system.slice" }],
  ["/system.slice/not a unit/foo.service", { slice: "system.slice" }],
  ["/system.slice/foo.target", { slice: "system.slice" }],
  [`/system.slice/${"x".repeat(248)}.service`, { slice: "system.slice" }],
  [USER, { slice: "user-1000.slice" }],
  [`${USER}/session-2.scope`, { unit: "session-2.scope", slice: "user-1000.slice" }],
  [`${USER}/user@1000.service`, { unit: "user@1000.service", slice: "user-1000.slice" }],
  [
    `${USER}/user@1000.service/app.slice/app-firefox-123.scope`,
    { unit: "user@1000.service/app-firefox-123.scope", slice: "user-1000.slice" },
  ],
  [
    `${USER}/user@1000.service/init.scope`,
    { unit: "user@1000.service/init.scope", slice: "user-1000.slice" },
  ],
  [
    `${USER}/user@1000.service/app.slice/app-gnome-org.gnome.Terminal.slice/vte\\x2dspawn-1.scope`,
    { unit: "user@1000.service/vte\\x2dspawn-1.scope", slice: "user-1000.slice" },
  ],
  ["/system.slice/_cpu.service", { unit: "cpu.service", slice: "system.slice" }],
  ["/system.slice/__cpu.service", { unit: "_cpu.service", slice: "system.slice" }],
  ["/system.slice/dev-disk\\x2dby.swap", { unit: "dev-disk\\x2dby.swap", slice: "system.slice" }],
  [
    `/system.slice/docker-${ID}.scope`,
    { unit: `docker-${ID}.scope`, slice: "system.slice", container: ID },
  ],
  [
    `/machine.slice/libpod-${ID}.scope/container`,
    { unit: `libpod-${ID}.scope`, slice: "machine.slice", container: ID },
  ],
  [
    `/kubepods.slice/kubepods-pod1.slice/cri-containerd-${ID}.scope`,
    { unit: `cri-containerd-${ID}.scope`, slice: "kubepods-pod1.slice", container: ID },
  ],
  [
    "/machine.slice/machine-my\\x2dvm.scope/payload",
    { unit: "machine-my\\x2dvm.scope", slice: "machine.slice", container: "my-vm" },
  ],
  [
    "/machine.slice/systemd-nspawn@debian.service/payload/system.slice/cron.service",
    { unit: "systemd-nspawn@debian.service", slice: "machine.slice", container: "debian" },
  ],
  ["/system.slice/machine-x.scope", { unit: "machine-x.scope", slice: "system.slice" }],
  [`/docker/${ID}`, { container: ID }],
  [`/kubepods/burstable/pod12/${ID}`, { container: ID }],
  ["/docker/not-an-id", {}],
  [`/home-made/${ID}`, {}],
  ["/lxc.payload.web/init.scope", { container: "web" }],
];

test.each(PLACES)("parseCgroupPath() reads %s", (path, place) => {
  const nothing: CgroupPlace = { unit: undefined, slice: undefined, container: undefined };
  expect(parseCgroupPath(path)).toEqual({ ...nothing, ...place });
});

test.each([
  ["", "is empty"],
  ["system.slice/foo.service", "does not start at the root"],
  ["/../system.slice/foo.service", "lies outside of the cgroup namespace"],
  ["/..", "lies outside of the cgroup namespace"],
  ["/system.slice/foo.service (deleted)", "is of a cgroup that was removed"],
])("parseCgroupPath() says nothing of %j, which %s", (path) => {
  expect(parseCgroupPath(path)).toBeUndefined();
});

const FORGERIES = [
  `${USER}/user@1000.service/sensord.service`,
  `${USER}/user@1000.service/system.slice/sensord.service`,
  `${USER}/session-2.scope/system.slice/sensord.service`,
  "/system.slice/app.service/system.slice/sensord.service",
  `/system.slice/docker-${ID}.scope/system.slice/sensord.service`,
  `/docker/${ID}/system.slice/sensord.service`,
];

test.each(FORGERIES)("a cgroup below somebody's unit is no unit of the system: %s", (path) => {
  expect(parseCgroupPath(path)?.unit).not.toBe("sensord.service");
});

test("a user cannot make up the id of a container", () => {
  const path = `${USER}/user@1000.service/user.slice/docker-${ID}.scope`;
  expect(parseCgroupPath(path)?.container).toBeUndefined();
});
