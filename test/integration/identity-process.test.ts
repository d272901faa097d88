/** What is read of a process through a pidfd, with processes made to look like others. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readPeerIdentity } from "../../src/broker/identity/identity.ts";
import { readProcessIdentity } from "../../src/broker/identity/process-identity.ts";
import { supportsPeerPidfd } from "../../src/ffi/peer-credentials.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { fdsOpenedSince, openFds } from "../unit/ffi/fd-table.ts";
import { openPidfd } from "../unit/ffi/peer-process.ts";
import { PeerListener, startPeer } from "./identity-peer.ts";

const notRoot = process.getuid?.() !== 0;
const SLEEP = Bun.which("sleep") ?? "/bin/sleep";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "seqbus-process-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** A program of its own that sleeps. */
function copySleep(name: string): string {
  const path = join(directory, name);
  copyFileSync(SLEEP, path);
  chmodSync(path, 0o755);
  return path;
}

/** The executable of a process that runs a command, once its path ends as wanted. */
async function executableOf(
  command: string[],
  ending: string,
  meanwhile: () => void = () => {},
): Promise<string | undefined> {
  await using child = Bun.spawn(command, { stdio: ["ignore", "ignore", "inherit"] });
  const link = `/proc/${child.pid}/exe`;
  await eventually(() => readlinkSync(link).endsWith(ending), `${ending} runs`);
  meanwhile();
  using pidfd = openPidfd(child.pid);
  const found = readProcessIdentity(pidfd.number, child.pid);
  child.kill("SIGKILL");
  return found?.exe;
}

test("exe is the path of a running program", async () => {
  const path = copySleep("plain");
  expect(await executableOf([path, "60"], "/plain")).toBe(path);
});

test("exe of a removed program cannot be matched as a path", async () => {
  const path = copySleep("removed");
  const exe = await executableOf([path, "60"], "/removed", () => rmSync(path));
  expect(exe).toBe(`(deleted) ${path}`);
});

test("exe of a program that was replaced cannot be matched as a path", async () => {
  const path = copySleep("replaced");
  const replace = () => renameSync(copySleep("newer"), path);
  expect(await executableOf([path, "60"], "/replaced", replace)).toBe(`(deleted) ${path}`);
});

test("exe of a program that is called so is its path", async () => {
  const path = copySleep("odd (deleted)");
  expect(await executableOf([path, "60"], "/odd (deleted)")).toBe(path);
});

function canMount(): boolean {
  return !notRoot && Bun.spawnSync(["unshare", "--mount", "true"]).success;
}

testUnless(
  !canMount(),
  "only root can make a mount namespace here, with unshare of util-linux",
  "a program mounted over another in a namespace of its own does not pass for it",
  async () => {
    const trusted = copySleep("trusted");
    const forged = copySleep("forged");
    const script = `mount --bind '${forged}' '${trusted}' && exec '${trusted}' 60`;
    const command = ["unshare", "--mount", "sh", "-c", script];
    expect(await executableOf(command, "/trusted")).toBe(`(elsewhere) ${trusted}`);
  },
);

test("nothing is said of a process under a pid that is not its own", () => {
  using pidfd = openPidfd(process.pid);
  expect(readProcessIdentity(pidfd.number, process.pid)).toBeDefined();
  expect(readProcessIdentity(pidfd.number, process.ppid)).toBeUndefined();
  expect(readProcessIdentity(pidfd.number, 0)).toBeUndefined();
});

test("nothing is said of a process that was reaped, even if its pid were taken again", async () => {
  await using child = Bun.spawn([SLEEP, "0"]);
  using pidfd = openPidfd(child.pid);
  await child.exited;
  expect(readProcessIdentity(pidfd.number, child.pid)).toBeUndefined();
  expect(readProcessIdentity(pidfd.number, process.pid)).toBeUndefined();
});

test("readPeerIdentity() keeps no fd, whether the peer lives or not", async () => {
  for (const exit of [false, true]) {
    using listener = new PeerListener();
    await using peer = await startPeer({ path: listener.path, exit });
    if (exit) await peer.exited;
    using socket = listener.accept();
    const before = openFds();
    readPeerIdentity(socket.number);
    expect(fdsOpenedSince(before)).toEqual([]);
  }
});

test("a broker without a free fd says so, and takes no peer for unknown", async () => {
  const script = `${import.meta.dir}/identity-full-fixture.ts`;
  await using child = Bun.spawn([process.execPath, script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const found = JSON.parse(await child.stdout.text());
  expect(found).toEqual(supportsPeerPidfd() ? ["EMFILE", "EMFILE", "found"] : FOUND);
});

const FOUND = ["found", "found", "found"];

/** Where the version 2 hierarchy is mounted, if processes can be put into new cgroups there. */
function writableHierarchy(): string | undefined {
  const mounts = readFileSync("/proc/self/mounts", "utf8");
  const mount = /^\S+ (\S+) cgroup2 rw\b/m.exec(mounts)?.[1];
  return notRoot || mount === undefined || !existsSync(join(mount, "cgroup.procs"))
    ? undefined
    : mount;
}

const hierarchy = writableHierarchy();

testUnless(
  hierarchy === undefined || !supportsPeerPidfd(),
  "only root can make cgroups, and only where the version 2 hierarchy can be written",
  "unit and slice come from the cgroup that the peer is in",
  async () => {
    const slice = join(hierarchy ?? "", `seqbus${process.pid}.slice`);
    const unit = join(slice, "sensord.service");
    mkdirSync(unit, { recursive: true });
    try {
      using listener = new PeerListener();
      await using peer = await startPeer({ path: listener.path });
      using socket = listener.accept();
      const elsewhere = readPeerIdentity(socket.number).cgroup;
      expect(elsewhere).not.toContain(`seqbus${process.pid}.slice`);
      writeFileSync(join(unit, "cgroup.procs"), String(peer.pid));
      expect(readPeerIdentity(socket.number)).toMatchObject({
        cgroup: `/seqbus${process.pid}.slice/sensord.service`,
        unit: "sensord.service",
        slice: `seqbus${process.pid}.slice`,
      });
    } finally {
      rmdirSync(unit);
      rmdirSync(slice);
    }
  },
);
