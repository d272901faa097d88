/**
 * Every benchmark scenario with next to no input: its processes start, find each other, check each
 * message and end. No figure is looked at, since a test must not depend on the machine's speed.
 */

import { describe, expect, test } from "bun:test";
import { measure } from "../../bench/harness.ts";
import { SCENARIOS, type Scenario } from "../../bench/scenarios.ts";

const MESSAGES = 300;
/** Long enough on any machine: a run ends with its last message. */
const LIMITS = { measureMs: 20_000, warmUpMs: 0, messagesMax: MESSAGES, restMsMin: 50 };

/** Publishers finish the packet, or the batch, in which they reach the limit. */
const OVERSHOOT_MAX = 1_024;

/** Policies and crowds take time to make, and are right or wrong with few as with many. */
const RULES_MAX = 20;
const CONNECTIONS = 6;

/** These end by time and not by a number of messages. */
const STREAMS: readonly Scenario["kind"][] = ["swap", "reload"];

const TIMEOUT_MS = 90_000;

describe("measure()", () => {
  for (const scenario of SCENARIOS.map(shrink)) {
    test(
      `checks every message of "${scenario.name}"`,
      async () => {
        const { checked } = await measure(scenario, LIMITS);
        if (STREAMS.includes(scenario.kind)) return expect(checked).toBeGreaterThan(0);
        const receivers = scenario.kind === "rate" ? scenario.subscribers : 1;
        expect(checked % receivers).toBe(0);
        expect(checked / receivers).toBeGreaterThanOrEqual(MESSAGES);
        expect(checked / receivers).toBeLessThan(MESSAGES + OVERSHOOT_MAX);
      },
      TIMEOUT_MS,
    );
  }
});

function shrink(scenario: Scenario): Scenario {
  if (scenario.policy === undefined) return scenario;
  const rules = Math.min(RULES_MAX, scenario.policy.rules);
  const shrunk = { ...scenario, policy: { ...scenario.policy, rules } };
  if (shrunk.kind === "swap") return { ...shrunk, swaps: 4, stretchMs: 50 };
  return shrunk.kind === "reload" ? { ...shrunk, connections: CONNECTIONS, reloads: 2 } : shrunk;
}

describe("SCENARIOS", () => {
  test("name a baseline that stands before them and is measured alike", () => {
    for (const [index, { name, baseline, kind }] of SCENARIOS.entries()) {
      const found = SCENARIOS.findIndex((scenario) => scenario.name === baseline);
      expect(found, name).toBeGreaterThanOrEqual(0);
      expect(found, name).toBeLessThanOrEqual(index);
      expect(SCENARIOS[found]?.kind, name).toBe(kind);
    }
  });
});
