/** Every kind of answer, word for word. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { PeerIdentity } from "../../../../src/broker/identity/identity.ts";
import { decide, decideSubscribe, ownUidPolicy } from "../../../../src/broker/policy/decide.ts";
import { explain, explanationLines } from "../../../../src/broker/policy/explain.ts";
import { ACTIONS, type Action, type Policy } from "../../../../src/broker/policy/rules.ts";
import { client, parse } from "./policy-fixture.ts";

const TEXT = `
[[rule]]
id = "sensord-publishes"
allow = ["publish"]
topics = ["sensors.>"]
user = "sensord"
unit = "sensord.service"

[[rule]]
id = "all-read"
allow = ["subscribe"]
topics = ["sensors.*.temperature", "news"]
any = true

[[rule]]
id = "guests-not-bedroom"
deny = ["subscribe"]
topics = ["sensors.bedroom.>"]
group = "guests"

[[rule]]
allow = ["call", "send-fds"]
topics = ["portal.>"]
uid = ["1000-1999", 5]
exe = "/usr/bin/*"
label = "app_t"

[[rule]]
id = "no-sandbox"
deny = ["call"]
topics = ["portal.admin"]
unit = "sandbox-*.scope"
`;

const POLICY = parse(TEXT);
const GUEST = client(1_001, { groups: [2_000], cgroup: "/" });

function lines(policy: Policy, identity: PeerIdentity, action: Action, topic: string): string[] {
  return explanationLines(explain(policy, identity, action, topic));
}

describe("explain() says of an allowed action", () => {
  test("which rule allows it", () => {
    expect(lines(POLICY, GUEST, "subscribe", "news")).toEqual([
      'allowed: uid 1001 may subscribe to "news"',
      'because: rule "all-read" (policy.toml:9) allows it',
    ]);
  });

  test("that a pattern is allowed in part", () => {
    expect(lines(POLICY, GUEST, "subscribe", "sensors.>")).toEqual([
      'allowed: uid 1001 may subscribe to "sensors.>"',
      'because: rule "all-read" (policy.toml:9) allows some of it',
    ]);
  });

  test("that it is the broker's own user", () => {
    expect(lines(ownUidPolicy(7), client(7), "publish", "a")).toEqual([
      'allowed: uid 7 may publish on "a"',
      'because: rule "own-uid" allows it',
    ]);
  });
});

describe("explain() says of a denied action", () => {
  test("which rule denies it, and which allowed it in vain", () => {
    expect(lines(POLICY, GUEST, "subscribe", "sensors.bedroom.temperature")).toEqual([
      'denied: uid 1001 may not subscribe to "sensors.bedroom.temperature"',
      'because: rule "guests-not-bedroom" (policy.toml:15) denies it',
      'nearest: rule "all-read" (policy.toml:9) allows it, but a rule that denies wins',
    ]);
  });

  test("that a pattern is denied whole", () => {
    const [, reason] = lines(POLICY, GUEST, "subscribe", "sensors.bedroom.>");

    expect(reason).toBe('because: rule "guests-not-bedroom" (policy.toml:15) denies all of it');
  });

  test("which user the nearest rule wants, and which unit", () => {
    expect(lines(POLICY, GUEST, "publish", "sensors.kitchen")).toEqual([
      'denied: uid 1001 may not publish on "sensors.kitchen"',
      "because: no rule allows it",
      'nearest: rule "sensord-publishes" (policy.toml:2) would allow it, but',
      '  user: is 1001, the rule has "sensord" (990)',
      "  unit: is none, the rule has sensord.service",
    ]);
  });

  test("what is unknown of the client", () => {
    expect(lines(POLICY, client(990), "publish", "sensors.kitchen").slice(3)).toEqual([
      "  unit: is unknown, the rule has sensord.service",
    ]);
  });

  test("which topics and which actions the nearest rule has", () => {
    const sensord = client(990, { unit: "sensord.service" });

    expect(lines(POLICY, sensord, "publish", "sensor.kitchen").slice(2)).toEqual([
      'nearest: rule "sensord-publishes" (policy.toml:2) would allow it, but',
      "  topic: is sensor.kitchen, the rule has sensors.>",
    ]);
    expect(lines(POLICY, sensord, "publish", "news").slice(2)).toEqual([
      'nearest: rule "all-read" (policy.toml:9) would allow it, but',
      "  action: is publish, the rule allows subscribe",
    ]);
  });

  test("which uid, executable and label the nearest rule wants, by its place if it has no id", () => {
    const sandboxed = client(5_000, { cgroup: "/", exe: "/opt/app", label: "web_t" });

    expect(lines(POLICY, sandboxed, "call", "portal.open").slice(2)).toEqual([
      'nearest: rule "policy.toml:21" would allow it, but',
      "  uid: is 5000, the rule has 1000-1999 or 5",
      "  exe: is /opt/app, the rule has /usr/bin/*",
      "  label: is web_t, the rule has app_t",
    ]);
    expect(lines(POLICY, client(1_000), "send-fds", "portal.open").slice(3)).toEqual([
      "  exe: is unknown, the rule has /usr/bin/*",
      "  label: is none, the rule has app_t",
    ]);
  });

  test("which groups the client is in, not more than twenty of them", () => {
    const policy = parse('[[rule]]\nallow = ["call"]\ntopics = ["a"]\ngroup = ["media", 7]\n');
    const groups = Array.from({ length: 25 }, (_, at) => 3_000 + at);

    expect(lines(policy, client(1, { groups: [1, 9] }), "call", "a").at(-1)).toBe(
      '  group: is 1, 9, the rule has "media" (44) or 7',
    );
    expect(lines(policy, client(1, { groups }), "call", "a").at(-1)).toContain(" and 6 more, the");
    expect(lines(policy, client(1, { gid: 0xffff_ffff }), "call", "a").at(-1)).toContain(
      "is none, the",
    );
  });

  test("no more than fits one packet, however long the lists are", () => {
    const numbers = Array.from({ length: 20_000 }, (_, at) => at + 1);
    const topics = numbers.slice(0, 2_000).map((at) => `${"t".repeat(200)}${at}`);
    const policy = parse(`
[[rule]]
allow = ["call"]
topics = ${JSON.stringify(topics)}
user = ${JSON.stringify(numbers)}
group = ${JSON.stringify(numbers)}
unit = ${JSON.stringify(numbers.map((at) => `u${at}.service`))}
exe = ${JSON.stringify([`/${"e".repeat(4_000)}`, ...numbers.map((at) => `/bin/${at}`)])}
`);
    const groups = numbers.map((at) => at + 100_000);
    const stranger = client(99_999, { groups, exe: `/${"x".repeat(4_000)}` });

    const explanation = explain(policy, stranger, "call", "x");

    expect(explanation.nearest?.failed).toHaveLength(5);
    expect(JSON.stringify(explanation).length).toBeLessThan(8_000);
    expect(explanation.nearest?.failed[0]?.words).toEndWith(" and 1998 more");
  });

  test("that a deny holds where the unit is unknown", () => {
    const unknown = client(1_000, { exe: "/usr/bin/app", label: "app_t" });

    expect(lines(POLICY, unknown, "call", "portal.admin")).toEqual([
      'denied: uid 1000 may not call "portal.admin"',
      'because: rule "no-sandbox" (policy.toml:28) denies it ' +
        "(the unit of the client is unknown, and a deny then holds)",
      'nearest: rule "policy.toml:21" allows it, but a rule that denies wins',
    ]);
  });

  test("that nothing comes near", () => {
    expect(lines(POLICY, GUEST, "monitor", "anything")).toEqual([
      'denied: uid 1001 may not monitor "anything"',
      "because: no rule allows it",
    ]);
  });

  test("that the client has unmapped ids", () => {
    const stranger = client(65_534, { unmapped: true });

    expect(lines(POLICY, stranger, "subscribe", "news")).toEqual([
      'denied: uid 65534 may not subscribe to "news"',
      "because: its ids stand for every user of other namespaces, and no rule is about those",
    ]);
  });
});

describe("explain() says of a permissive policy", () => {
  const policy = parse(`mode = "permissive"\n${TEXT}`);

  test("which rule would deny", () => {
    expect(lines(policy, GUEST, "subscribe", "sensors.bedroom.temperature")).toEqual([
      'allowed: uid 1001 may subscribe to "sensors.bedroom.temperature"',
      'because: rule "all-read" (policy.toml:10) allows it',
      'would be denied: rule "guests-not-bedroom" (policy.toml:16) denies it, ' +
        "and its file is permissive",
    ]);
  });

  test("that no rule allows it, and which comes near", () => {
    expect(lines(policy, GUEST, "publish", "sensors.a")).toEqual([
      'allowed: uid 1001 may publish on "sensors.a"',
      "because: no rule allows it, but every file of the policy is permissive",
      "would be denied: no rule allows it",
      'nearest: rule "sensord-publishes" (policy.toml:3) would allow it, but',
      '  user: is 1001, the rule has "sensord" (990)',
      "  unit: is none, the rule has sensord.service",
    ]);
    expect(explain(policy, GUEST, "publish", "sensors.a").mode).toBe("permissive");
  });
});

test("explain() returns plain data for programs", () => {
  const explanation = explain(POLICY, GUEST, "subscribe", "sensors.bedroom.temperature");

  expect(JSON.parse(JSON.stringify(explanation))).toEqual({
    verdict: "denied",
    action: "subscribe",
    topic: "sensors.bedroom.temperature",
    uid: 1_001,
    mode: "enforce",
    decidedBy: { id: "guests-not-bedroom", place: "policy.toml:15" },
    reason: 'rule "guests-not-bedroom" (policy.toml:15) denies it',
    nearest: { rule: { id: "all-read", place: "policy.toml:9" }, failed: [] },
  });
});

test("explain() never disagrees with decide()", () => {
  const identity = fc.record({
    uid: fc.constantFrom(5, 990, 1_000, 1_001),
    gid: fc.constantFrom(44, 2_000),
    pid: fc.constant(1),
    groups: fc.subarray([44, 2_000]),
    cgroup: fc.option(fc.constant("/"), { nil: undefined }),
    exe: fc.constantFrom(undefined, "/usr/bin/a", "/opt/a"),
    label: fc.constantFrom(undefined, "app_t"),
    unmapped: fc.boolean(),
  });
  const topic = fc.constantFrom(
    "sensors.bedroom.x",
    "news",
    "portal.admin",
    "sensors.a.temperature",
  );
  const policies = [POLICY, parse(`mode = "permissive"\n${TEXT}`)];
  fc.assert(
    fc.property(
      fc.constantFrom(...policies),
      identity,
      fc.constantFrom(...ACTIONS),
      topic,
      (...all) => {
        const [policy, who, action, asked] = all;
        const decision =
          action === "subscribe"
            ? decideSubscribe(policy, who, asked)
            : decide(policy, who, action, asked);

        const explanation = explain(policy, who, action, asked);

        expect(explanation.verdict).toBe(decision.allowed ? "allowed" : "denied");
        expect(explanation.decidedBy?.id).toBe(decision.rule);
        expect(explanation.wouldDeny?.rule?.id).toBe(decision.wouldDeny?.rule);
        expect(explanation.wouldDeny === undefined).toBe(decision.wouldDeny === undefined);
      },
    ),
    { numRuns: 1_000 },
  );
});
