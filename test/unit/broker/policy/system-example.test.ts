/** examples/policy/system does what its comments say, and each kind of denial there is explained. */

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { decide, decideSubscribe } from "../../../../src/broker/policy/decide.ts";
import { explain, explanationLines } from "../../../../src/broker/policy/explain.ts";
import { loadPolicy } from "../../../../src/broker/policy/policy-file.ts";
import { client, filesOf } from "./policy-fixture.ts";

const ROOT = new URL("../../../../examples/policy/system/", import.meta.url);
const DROP_INS = readdirSync(new URL("policy.d/", ROOT)).map((name) => `policy.d/${name}`);
const FILES = Object.fromEntries(
  ["policy.toml", ...DROP_INS].map((path) => [path, readFileSync(new URL(path, ROOT), "utf8")]),
);

const USERS = new Map([
  ["sensord", 990],
  ["camerad", 991],
  ["recorderd", 992],
  ["portald", 993],
]);
const GROUPS = new Map([
  ["adm", 4],
  ["video", 44],
  ["household", 2_000],
  ["guests", 2_001],
]);

const POLICY = loadPolicy("policy.toml", {
  ...filesOf(FILES),
  directory: {
    findUser: (name) => numbered(USERS.get(name), (uid) => ({ uid })),
    findGroup: (name) => numbered(GROUPS.get(name), (gid) => ({ gid })),
  },
});

function numbered<Entry>(id: number | undefined, entry: (id: number) => Entry): Entry | undefined {
  return id === undefined ? undefined : entry(id);
}

const SENSORD = client(990, unit("sensord.service"));
const PORTALD = client(993, unit("portald.service"));
const CAMERAD = client(991, { exe: "/usr/libexec/seqbus/camera-usb" });
const ALICE = client(1_000, { groups: [44, 2_000], ...unit("user@1000.service/app-mail-7.scope") });
const GUEST = client(1_001, { groups: [2_001], ...unit("session-3.scope") });
const SANDBOXED = client(1_000, unit("user@1000.service/app-flatpak-game-9.scope"));
const ADMIN = client(1_002, { groups: [4], ...unit("session-1.scope") });

function unit(name: string): { unit: string; cgroup: string } {
  return { unit: name, cgroup: `/some.slice/${name}` };
}

describe("examples/policy/system allows", () => {
  const allowed: readonly (readonly [string, ...Parameters<typeof decide>])[] = [
    ["the sensor daemon to publish", POLICY, SENSORD, "publish", "sensors.kitchen.raw"],
    ["everybody to read temperatures", POLICY, SANDBOXED, "subscribe", "sensors.a.temperature"],
    ["the camera to publish frames", POLICY, CAMERAD, "publish", "camera.door.frames"],
    ["the camera to attach memory", POLICY, CAMERAD, "send-fds", "camera.door.frames"],
    ["members of video to have frames", POLICY, ALICE, "receive-fds", "camera.door.frames"],
    ["the portal to serve", POLICY, PORTALD, "serve", "portal.files.open"],
    ["sandboxed apps to get files", POLICY, SANDBOXED, "call", "portal.files.open"],
    ["apps of the session to talk", POLICY, ALICE, "publish", "session.clipboard"],
    ["the household to control lamps", POLICY, ALICE, "call", "control.lamps.hall"],
    ["administrators to see the bus", POLICY, ADMIN, "monitor", "$bus.clients"],
  ];
  for (const [behaviour, ...question] of allowed) {
    test(behaviour, () => {
      expect(decide(...question).allowed).toBe(true);
    });
  }

  test("administrators to subscribe to everything", () => {
    expect(decideSubscribe(POLICY, ADMIN, ">").rule).toBe("admins-look");
  });
});

describe("examples/policy/system denies, and says why", () => {
  const denied: readonly (readonly [string, Parameters<typeof explain>, readonly string[]])[] = [
    [
      "readings of another user",
      [POLICY, ALICE, "publish", "sensors.kitchen.temperature"],
      [
        "because: no rule allows it",
        'nearest: rule "sensors-publish" (policy.d/10-sensors.toml:4) would allow it, but',
        '  user: is 1000, the rule has "sensord" (990)',
        "  unit: is user@1000.service/app-mail-7.scope, the rule has sensord.service",
      ],
    ],
    [
      "readings of another program of the right user",
      [POLICY, client(990, unit("cron.service")), "publish", "sensors.kitchen.temperature"],
      [
        "because: no rule allows it",
        'nearest: rule "sensors-publish" (policy.d/10-sensors.toml:4) would allow it, but',
        "  unit: is cron.service, the rule has sensord.service",
      ],
    ],
    [
      "frames of another executable",
      [POLICY, client(991, { exe: "/tmp/camera-usb" }), "publish", "camera.door.frames"],
      [
        "because: no rule allows it",
        'nearest: rule "camera-publishes" (policy.d/10-sensors.toml:17) would allow it, but',
        "  exe: is /tmp/camera-usb, the rule has /usr/libexec/seqbus/camera-*",
      ],
    ],
    [
      "the memory of frames to who may only see them",
      [POLICY, client(992), "receive-fds", "camera.door.frames"],
      [
        "because: no rule allows it",
        'nearest: rule "video-gets-frames" (policy.d/10-sensors.toml:25) would allow it, but',
        '  group: is 992, the rule has "video" (44)',
      ],
    ],
    [
      "topics that no rule has",
      [POLICY, ALICE, "call", "control.door.open"],
      [
        "because: no rule allows it",
        'nearest: rule "household-controls" (policy.toml:24) would allow it, but',
        "  topic: is control.door.open, the rule has control.lamps.>, control.blinds.>",
      ],
    ],
    [
      "services of daemons that are not people",
      [POLICY, client(992), "call", "portal.files.open"],
      [
        "because: no rule allows it",
        'nearest: rule "people-call-portal" (policy.d/20-portal.toml:11) would allow it, but',
        "  uid: is 992, the rule has 1000-59999",
      ],
    ],
    [
      "control to guests of the household",
      [POLICY, client(1_000, { groups: [2_000, 2_001] }), "call", "control.lamps.hall"],
      [
        'because: rule "guests-control-nothing" (policy.toml:17) denies it',
        'nearest: rule "household-controls" (policy.toml:24) allows it, but a rule that denies wins',
      ],
    ],
    [
      "the session to sandboxed apps, all of it",
      [POLICY, SANDBOXED, "subscribe", "session.>"],
      [
        'because: rule "sandbox-not-session" (policy.d/40-sandbox.toml:4) denies all of it',
        'nearest: rule "session-apps" (policy.d/30-session.toml:3) allows it, ' +
          "but a rule that denies wins",
      ],
    ],
    [
      "pictures of the screen to who hides its unit",
      [POLICY, client(1_000), "call", "portal.screen.picture"],
      [
        'because: rule "sandbox-no-pictures" (policy.d/40-sandbox.toml:10) denies it ' +
          "(the unit of the client is unknown, and a deny then holds)",
        'nearest: rule "people-call-portal" (policy.d/20-portal.toml:11) allows it, ' +
          "but a rule that denies wins",
      ],
    ],
    [
      "everything to users of other namespaces",
      [POLICY, client(65_534, { unmapped: true }), "subscribe", "sensors.a.temperature"],
      ["because: its ids stand for every user of other namespaces, and no rule is about those"],
    ],
  ];
  for (const [behaviour, question, lines] of denied) {
    test(behaviour, () => {
      const [verdict, ...reasons] = explanationLines(explain(...question));

      expect(verdict).toStartWith("denied: ");
      expect(reasons).toEqual([...lines]);
    });
  }

  test("on trial only: the bedroom to guests", () => {
    expect(
      explanationLines(explain(POLICY, GUEST, "subscribe", "sensors.bedroom.temperature")),
    ).toEqual([
      'allowed: uid 1001 may subscribe to "sensors.bedroom.temperature"',
      'because: rule "sensors-read" (policy.d/10-sensors.toml:11) allows it',
      'would be denied: rule "guests-not-bedroom" (policy.d/90-trial.toml:5) denies it, ' +
        "and its file is permissive",
    ]);
  });
});
