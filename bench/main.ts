/**
 * `bun run bench`: measures scenarios beside their baselines, interleaved, and prints a table.
 * Progress goes to stderr, so that stdout can be kept.
 */

import { parseArgs } from "node:util";
import { formatComparisons } from "./comparison-table.ts";
import { type Selection, selectScenarios } from "./contestants.ts";
import { measure, type RunLimits } from "./harness.ts";
import { formatLeads } from "./leads.ts";
import type { Measurement } from "./measurement.ts";
import { isPeer } from "./peers/peer-kinds.ts";
import { renderPage } from "./report-page.ts";
import { describeMachine, formatTable, summarizeRepeats } from "./results-table.ts";
import type { Scenario } from "./scenarios.ts";

const USAGE = `Usage: bun run bench [options]
  --peers        also measure the peers that are installed; bench/peers/setup installs them
  --compare      only what is done by several: seqbus, the floors, peers
  --seconds N    seconds that count in each run (default 2)
  --repeats N    runs of each scenario, interleaved (default 3)
  --filter TEXT  scenarios whose names hold TEXT, and their baselines
  --json FILE    also write the results there
  --html FILE    also write a page with plots there, in one file
  --list         name the scenarios and end`;

const WARM_UP_MS = 700;

/** About as long as a reload takes. */
const REST_MS_MIN = 500;

/** What happened, beside the figures. */
interface Run {
  readonly repeats: Map<string, Measurement>[];
  /** Peers that lost a message or did not start, with the first reason. */
  readonly failures: Map<string, string>;
}

/** Measures everything as often as asked, in turns: what the machine does meanwhile hits all alike. */
async function runAll(
  scenarios: readonly Scenario[],
  limits: RunLimits,
  repeatCount: number,
): Promise<Run> {
  const run: Run = { repeats: [], failures: new Map() };
  for (let repeat = 1; repeat <= repeatCount; repeat += 1) {
    const measurements = new Map<string, Measurement>();
    run.repeats.push(measurements);
    for (const [index, scenario] of scenarios.entries()) {
      const at = `${repeat}/${repeatCount} ${index + 1}/${scenarios.length}`;
      process.stderr.write(`${at}  ${scenario.name} …`);
      const outcome = await measureOrNote(scenario, limits, run.failures);
      if (outcome !== undefined) measurements.set(scenario.name, outcome);
      const rate = outcome === undefined ? "failed" : rateWords(outcome);
      process.stderr.write(` ${rate}\n`);
    }
  }
  return run;
}

function rateWords({ perSecond, p50Us }: Measurement): string {
  if (p50Us !== undefined) return `p50 ${p50Us.toFixed(1)} us`;
  return `${Math.round(perSecond).toLocaleString("en")} a second`;
}

/** A peer may fail, and is then named as one that did. seqbus and the floors may not. */
async function measureOrNote(
  scenario: Scenario,
  limits: RunLimits,
  failures: Map<string, string>,
): Promise<Measurement | undefined> {
  try {
    return await measure(scenario, limits);
  } catch (error) {
    if (!isPeer(scenario.relay)) throw error;
    if (!failures.has(scenario.name)) failures.set(scenario.name, (error as Error).message);
    return undefined;
  }
}

function positive(option: string, text: string): number {
  const number = Number(text);
  if (number > 0) return number;
  throw new Error(`${option} must be a number above 0, not "${text}"`);
}

function readOptions() {
  return parseArgs({
    options: {
      peers: { type: "boolean", default: false },
      compare: { type: "boolean", default: false },
      seconds: { type: "string", default: "2" },
      repeats: { type: "string", default: "3" },
      filter: { type: "string", default: "" },
      json: { type: "string" },
      html: { type: "string" },
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  }).values;
}

/** What was asked for, without the files that it was written to. */
function commandOf(options: ReturnType<typeof readOptions>): string {
  const flags = [
    ...(options.compare ? ["--compare"] : []),
    ...(options.peers ? ["--peers"] : []),
    ...(options.filter === "" ? [] : [`--filter "${options.filter}"`]),
    `--seconds ${options.seconds} --repeats ${options.repeats}`,
  ];
  return `bun run bench ${flags.join(" ")}`;
}

/** One line each: who is here, who is not. */
function announce({ present, absent }: Selection): void {
  for (const name of present) process.stderr.write(`present: ${name}\n`);
  for (const name of absent) process.stderr.write(`absent:  ${name}\n`);
}

async function main(): Promise<void> {
  const options = readOptions();
  if (options.help) return console.log(USAGE);
  const selection = selectScenarios(options.filter, options);
  const { scenarios, present, absent } = selection;
  if (options.list) return console.log(scenarios.map(({ name }) => name).join("\n"));
  if (scenarios.length === 0) throw new Error(`No scenario's name holds "${options.filter}"`);
  const limits: RunLimits = {
    measureMs: positive("--seconds", options.seconds) * 1000,
    warmUpMs: WARM_UP_MS,
    messagesMax: 0xffff_ffff,
    restMsMin: REST_MS_MIN,
  };
  announce(selection);
  const { repeats, failures } = await runAll(
    scenarios,
    limits,
    positive("--repeats", options.repeats),
  );
  const machine = describeMachine();
  const command = commandOf(options);
  const results = summarizeRepeats(scenarios, repeats);
  const { cpu, cores, kernel, bun } = machine;
  const notes = [
    `${cores} x ${cpu}, ${kernel}, Bun ${bun}, ${command}; medians`,
    ...(present.length > 0 ? [`present: ${present.join(", ")}`] : []),
    ...absent.map((name) => `absent: ${name}`),
    ...[...failures].map(([name, reason]) => `failed: ${name}: ${reason}`),
  ];
  const alone = results.filter(({ work }) => work === undefined);
  console.log(notes.join("\n"));
  if (alone.length > 0) console.log(`\n${formatTable(alone)}`);
  console.log(formatComparisons(results));
  console.log(formatLeads(results));
  const written = { machine, command, present, absent, failures: [...failures], results };
  if (options.json !== undefined) {
    await Bun.write(options.json, `${JSON.stringify(written, undefined, 2)}\n`);
  }
  if (options.html !== undefined) await Bun.write(options.html, renderPage(results, notes));
}

await main();
