/**
 * `bun bench/endurance.ts [SECONDS]`: the broker at full load for a while, 64 B messages from one raw
 * publisher to one raw subscriber, every message checked. Prints how long its garbage collector
 * stopped it, and whether its memory grew. Ends with 1, and says why, where one of these was too much;
 * a message that is lost ends it at once.
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readCollectorLog } from "./collector-log.ts";
import { enduranceFaults, memoryGrowth, mib, PAUSE_MS_MAX } from "./endurance-check.ts";
import { readRssKib } from "./process-usage.ts";
import { millions } from "./result-words.ts";
import { median } from "./results-table.ts";
import { RoleProcess } from "./role-process.ts";
import { describeMachine } from "./run-head.ts";
import { StreamProcesses } from "./stream-processes.ts";
import type { WorkOrder } from "./work-order.ts";

const SECONDS_DEFAULT = 60;
const RSS_INTERVAL_MS = 1_000;

const seconds = Number(process.argv[2] ?? SECONDS_DEFAULT);
if (!(seconds > 0)) throw new Error("Usage: bun bench/endurance.ts [SECONDS]");
const directory = await mkdtemp(join(tmpdir(), "seqbus-bench-"));
const order: WorkOrder = {
  path: join(directory, "bus.sock"),
  relay: "broker",
  messageBytes: 64,
  packetBytes: 32_768,
  topics: 1,
  payload: "bytes",
  fds: 0,
  readsAll: false,
  publishers: 1,
  source: 0,
  idleSubscriptions: 0,
  idleConnections: 0,
  windowMessages: 13_107,
  warmUpMs: 0,
  durationMs: seconds * 1000,
  messagesMax: Number.MAX_SAFE_INTEGER,
  policyRules: 0,
  paceMs: 0,
  subscribers: 1,
};

try {
  const log = join(directory, "collector.log");
  const environment = { BUN_JSC_logGC: "1" };
  await using broker = new RoleProcess("roles/broker.ts", order, { environment, log });
  await broker.expect("ready");
  await using stream = await StreamProcesses.start(order);
  const rssKib: number[] = [];
  for (let second = 0; second < seconds; second += 1) {
    await Bun.sleep(RSS_INTERVAL_MS);
    rssKib.push(readRssKib(broker.pid));
  }
  const [{ messages, ms, gaps }] = await stream.finish();
  const { cpu, cores, kernel, bun } = describeMachine();
  const { collections, pausesMs } = readCollectorLog(await Bun.file(log).text());
  const memory = memoryGrowth(rssKib);
  console.log(`${cores} x ${cpu}, ${kernel}, Bun ${bun}, ${seconds} s at full load`);
  console.log(`${millions((messages / ms) * 1000)} messages a second, none lost`);
  const longer = pausesMs.filter((pause) => pause > PAUSE_MS_MAX).length;
  console.log(
    `collections: ${collections}; pauses: median ${median(pausesMs).toFixed(2)} ms, ` +
      `longest ${Math.max(0, ...pausesMs).toFixed(2)} ms, ${longer} over ${PAUSE_MS_MAX} ms`,
  );
  console.log(
    `longest time without a delivery: ${Math.max(0, ...gaps.map((gap) => gap.ms)).toFixed(1)} ms`,
  );
  console.log(`RSS: ${mib(memory.first)} MiB at first, ${mib(memory.last)} MiB at last`);
  for (const fault of enduranceFaults(pausesMs, memory)) {
    console.error(`FAILED: ${fault}`);
    process.exitCode = 1;
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}
