/**
 * `bun run bench`: measures scenarios beside their baselines, interleaved, and prints a table.
 * Progress goes to stderr, so that stdout can be kept.
 */

import { parseArgs } from "node:util";
import { COMPARISONS } from "./comparisons.ts";
import { measure, type RunLimits } from "./harness.ts";
import type { Measurement } from "./measurement.ts";
import { isPeer } from "./peers/peer-kinds.ts";
import { findRelay } from "./relay-server.ts";
import { describeMachine, formatTable, summarizeRepeats } from "./results-table.ts";
import { SCENARIOS, type Scenario } from "./scenarios.ts";

const USAGE = `Usage: bun run bench [options]
  --seconds N    seconds that count in each run (default 2)
  --repeats N    runs of each scenario, interleaved (default 3)
  --filter TEXT  scenarios whose names hold TEXT, and their baselines
  --json FILE    also write the results there
  --list         name the scenarios and end`;

const WARM_UP_MS = 700;

/** About as long as a reload takes. */
const REST_MS_MIN = 500;

/** The scenarios that a filter names, with those that they are compared to. */
function choose(filter: string, withPeers: boolean): Scenario[] {
  const all = [...SCENARIOS, ...COMPARISONS].filter(
    ({ relay }) => (withPeers || !isPeer(relay)) && findRelay(relay) !== undefined,
  );
  const named = all.filter(({ name }) => name.includes(filter));
  const wanted = new Set(named.flatMap(({ name, baseline }) => [name, baseline]));
  return all.filter(({ name }) => wanted.has(name));
}

/** One run of each scenario, one after the other. */
async function runOnce(
  scenarios: readonly Scenario[],
  limits: RunLimits,
  label: string,
): Promise<Map<string, Measurement>> {
  const measurements = new Map<string, Measurement>();
  for (const scenario of scenarios) {
    process.stderr.write(`${label}  ${scenario.name} …`);
    const result = await measure(scenario, limits);
    measurements.set(scenario.name, result);
    process.stderr.write(` ${Math.round(result.perSecond).toLocaleString("en")} a second\n`);
  }
  return measurements;
}

function positive(option: string, text: string): number {
  const number = Number(text);
  if (number > 0) return number;
  throw new Error(`${option} must be a number above 0, not "${text}"`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string", default: "2" },
      repeats: { type: "string", default: "3" },
      filter: { type: "string", default: "" },
      peers: { type: "boolean", default: false },
      json: { type: "string" },
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  const scenarios = choose(values.filter, values.peers);
  if (values.list) return console.log(scenarios.map(({ name }) => name).join("\n"));
  if (scenarios.length === 0) throw new Error(`No scenario's name holds "${values.filter}"`);
  const limits: RunLimits = {
    measureMs: positive("--seconds", values.seconds) * 1000,
    warmUpMs: WARM_UP_MS,
    messagesMax: 0xffff_ffff,
    restMsMin: REST_MS_MIN,
  };
  const repeats: Map<string, Measurement>[] = [];
  const repeatCount = positive("--repeats", values.repeats);
  for (let repeat = 1; repeat <= repeatCount; repeat += 1) {
    repeats.push(await runOnce(scenarios, limits, `${repeat}/${values.repeats}`));
  }
  const machine = describeMachine();
  const results = summarizeRepeats(scenarios, repeats);
  const { cpu, cores, kernel, bun } = machine;
  console.log(`${cores} x ${cpu}, ${kernel}, Bun ${bun}; medians of ${values.repeats} runs\n`);
  console.log(formatTable(results));
  if (values.json !== undefined) {
    await Bun.write(values.json, `${JSON.stringify({ machine, results }, undefined, 2)}\n`);
  }
}

await main();
