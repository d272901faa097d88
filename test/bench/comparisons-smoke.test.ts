/**
 * The comparisons with next to no input, for seqbus and the floors: each message is checked, no figure
 * is. Peers are on few machines; what can be tested without them is in test/bench/peers/.
 */

import { describe, expect, test } from "bun:test";
import { COMPARISONS } from "../../bench/comparisons.ts";
import { canRun } from "../../bench/contestants.ts";
import { measure } from "../../bench/harness.ts";
import { isPeer } from "../../bench/peers/peer-kinds.ts";
import type { Scenario } from "../../bench/scenarios.ts";

const MESSAGES = 200;
/** Long enough on any machine: a run ends with its last message. */
const LIMITS = { measureMs: 20_000, warmUpMs: 0, messagesMax: MESSAGES, restMsMin: 50 };
/** Where nothing comes that could end it. */
const REST_LIMITS = { ...LIMITS, measureMs: 100 };

/** Few processes show what many do. */
const MANY = 3;
const CONNECTIONS = 20;
const IDLE_SUBSCRIPTIONS = 50;
const BODY_BYTES_MAX = 256 * 1024;

const TIMEOUT_MS = 90_000;

function shrink(scenario: Scenario): Scenario {
  if (scenario.kind === "idle") {
    return { ...scenario, connections: CONNECTIONS, connectionsBefore: MANY };
  }
  if (scenario.kind === "latency") {
    return { ...scenario, turns: scenario.placement === "unpinned" ? 2 : 1 };
  }
  if (scenario.kind !== "rate") return scenario;
  const { subscribers, publishers = 1, topics, idleSubscriptions = 0, messageBytes } = scenario;
  return {
    ...scenario,
    messageBytes: Math.min(messageBytes, BODY_BYTES_MAX),
    subscribers: Math.min(subscribers, MANY),
    publishers: Math.min(publishers, MANY),
    topics: publishers > 1 ? MANY : topics,
    idleSubscriptions: Math.min(idleSubscriptions, IDLE_SUBSCRIPTIONS),
  };
}

// A machine without a C compiler has no floor in C, and needs none to be right.
const OURS = COMPARISONS.filter((scenario) => !isPeer(scenario.relay) && canRun(scenario, false));

describe("measure()", () => {
  for (const scenario of OURS.map(shrink)) {
    test(
      `checks every message of "${scenario.name}"`,
      async () => {
        const { checked, extra } = await measure(
          scenario,
          scenario.kind === "rest" ? REST_LIMITS : LIMITS,
        );
        if (scenario.kind === "rest") return expect(extra?.[0]?.value).toBeGreaterThan(0);
        if (scenario.kind === "idle") {
          expect(checked).toBe(CONNECTIONS);
          expect(extra?.map(({ unit }) => unit)).toEqual(["KiB"]);
          return;
        }
        const receivers = scenario.kind === "rate" ? scenario.subscribers : 1;
        expect(checked % receivers).toBe(0);
        expect(checked / receivers).toBeGreaterThanOrEqual(MESSAGES);
      },
      TIMEOUT_MS,
    );
  }
});

describe("COMPARISONS", () => {
  test("name a baseline that is there and is measured alike, and no name twice", () => {
    const names = COMPARISONS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const { name, baseline, kind } of COMPARISONS) {
      expect(COMPARISONS.find((other) => other.name === baseline)?.kind, name).toBe(kind);
    }
  });
});
