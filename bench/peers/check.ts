/**
 * `bun bench/peers/check.ts`: each peer that is installed passes a few messages from a raw client to a
 * raw one, from an npm client to another, with fds where it takes them, and one round trip of each; all
 * are checked. For whoever changes bench/peers/: tests have no peers. Ends with 1 where one fails.
 */

import { COMPARISONS } from "../comparisons.ts";
import { canRun } from "../contestants.ts";
import { measure } from "../harness.ts";
import { findRelay } from "../relay-server.ts";
import type { Scenario } from "../scenarios.ts";
import { isPeer, PEER_KINDS } from "./peer-kinds.ts";

const WORKS = ["1 to 1, 64 B", "fds to 1", "ping-pong, 64 B, unpinned"];
const MESSAGES = 300;

/** Long enough on any machine: a run ends with its last message. */
const LIMITS = { measureMs: 20_000, warmUpMs: 0, messagesMax: MESSAGES, restMsMin: 0 };

function shrink(scenario: Scenario): Scenario {
  return scenario.kind === "latency" ? { ...scenario, turns: 1 } : scenario;
}

/** For a round trip the number is of rounds, and one is enough. */
async function check(scenario: Scenario): Promise<string | undefined> {
  const isPing = scenario.kind === "latency";
  const wanted = isPing ? 1 : MESSAGES;
  try {
    const { checked } = await measure(shrink(scenario), { ...LIMITS, messagesMax: wanted });
    return checked < wanted ? `${checked} of ${wanted} came` : undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

const absent = PEER_KINDS.filter((peer) => findRelay(peer) === undefined);
for (const peer of absent) console.log(`NOT CHECKED: ${peer} is not installed`);
const wanted = COMPARISONS.filter(
  ({ work, relay }) => isPeer(relay) && WORKS.includes(work ?? "") && !absent.includes(relay),
);
let failed = 0;
for (const scenario of wanted) {
  if (!canRun(scenario, true)) {
    console.log(`NOT CHECKED: ${scenario.name}: no npm client`);
    continue;
  }
  const reason = await check(scenario);
  console.log(reason === undefined ? `good: ${scenario.name}` : `BAD: ${scenario.name}: ${reason}`);
  if (reason !== undefined) failed += 1;
}
if (failed > 0) process.exitCode = 1;
