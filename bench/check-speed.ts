/** `bun run check:speed`: ends with 1 where seqbus has become much slower beside the bare relay. */

import { COMPARISONS } from "./comparisons.ts";
import { measure, type RunLimits } from "./harness.ts";
import { SCENARIOS } from "./scenarios.ts";
import { attemptGuard, GUARDS } from "./speed-guard.ts";

const ATTEMPTS = 5;
const LIMITS: RunLimits = {
  measureMs: 1_000,
  warmUpMs: 700,
  messagesMax: 0xffff_ffff,
  restMsMin: 0,
};

let slower = 0;
for (const guard of GUARDS) {
  const { holds, ratios } = await attemptGuard(guard, ATTEMPTS, async () => {
    const floor = await rateOf(guard.floor);
    return (await rateOf(guard.own)) / floor;
  });
  if (!holds) slower += 1;
  const figures = ratios.map((ratio) => ratio.toFixed(2)).join(", ");
  const words = holds ? "ok" : "TOO SLOW";
  console.log(`${words}: ${guard.own}: ${figures} of the floor (at least ${guard.ratioMin})`);
}
process.exitCode = slower === 0 ? 0 : 1;

async function rateOf(name: string): Promise<number> {
  const scenario = [...SCENARIOS, ...COMPARISONS].find((known) => known.name === name);
  if (scenario === undefined) throw new Error(`There is no scenario "${name}"`);
  return (await measure(scenario, LIMITS)).perSecond;
}
