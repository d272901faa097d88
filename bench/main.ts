/**
 * `bun run bench`: measures scenarios beside their baselines, interleaved, and prints a table.
 * Progress goes to stderr, so that stdout can be kept; files are written again after each scenario.
 * Ends with 1 where seqbus or a floor failed; a peer may fail, and is then named as one that did.
 */

import { parseArgs } from "node:util";
import { formatComparisons } from "./comparison-table.ts";
import { type Selection, selectScenarios } from "./contestants.ts";
import { measure, type RunLimits } from "./harness.ts";
import { leadsReport } from "./lead-words.ts";
import { type Report, reportNotes, writeReport } from "./report-files.ts";
import { formatTable, summarizeRepeats } from "./results-table.ts";
import { describeCheckout, describeMachine, type RunHead } from "./run-head.ts";
import { failureLines, ownFailures, type TurnsSoFar, takeTurns } from "./turns.ts";

const USAGE = `Usage: bun run bench [options]
  --peers          also measure the peers that are installed; bench/peers/setup installs them
  --compare        only what is done by several: seqbus, the floors, peers
  --seconds N      seconds that count in each run (default 2)
  --repeats N      runs of each scenario, interleaved (default 3)
  --filter TEXT    scenarios whose names hold TEXT, and their baselines
  --json FILE      also write the results there, those of each repeat as well
  --html FILE      also write a page with plots there, in one file
  --markdown FILE  also write all tables there
  --list           name the scenarios and end`;

const WARM_UP_MS = 700;

/** About as long as a reload takes. */
const REST_MS_MIN = 500;

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
      markdown: { type: "string" },
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  }).values;
}

function limitsOf(options: ReturnType<typeof readOptions>): RunLimits {
  return {
    measureMs: positive("--seconds", options.seconds) * 1000,
    warmUpMs: WARM_UP_MS,
    messagesMax: 0xffff_ffff,
    restMsMin: REST_MS_MIN,
  };
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
  const limits = limitsOf(options);
  const repeatsAsked = positive("--repeats", options.repeats);
  const head: RunHead = {
    startedAt: new Date().toISOString(),
    seqbus: describeCheckout(),
    machine: describeMachine(),
    command: commandOf(options),
    present,
    absent,
  };
  announce(selection);
  const reportOf = ({ repeats, failures }: TurnsSoFar): Report => {
    return { head, repeatsAsked, failures, results: summarizeRepeats(scenarios, repeats) };
  };
  const turns = await takeTurns({
    scenarios,
    repeats: repeatsAsked,
    measure: (scenario) => measure(scenario, limits),
    say: (text) => process.stderr.write(text),
    save: (soFar) => writeReport(reportOf(soFar), options),
  });
  print(reportOf(turns));
  const failed = failureLines(ownFailures(turns.failures));
  if (failed.length === 0) return;
  process.stderr.write(`${failed.join("\n")}\n`);
  process.exitCode = 1;
}

function print(report: Report): void {
  const { results } = report;
  const alone = results.filter(({ work }) => work === undefined);
  console.log(reportNotes(report).join("\n"));
  if (alone.length > 0) console.log(`\n${formatTable(alone)}`);
  console.log(formatComparisons(results));
  console.log(leadsReport(results));
}

await main();
