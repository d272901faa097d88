/**
 * How long a Bun client takes to notice a record, by the way it waits: 64 B round trips with a peer
 * that pauses before it answers. Run: `bun bench/readiness/main.ts [rounds] [repeats]`. The figures
 * chose how src/client/packet-socket.ts waits.
 */

import { median } from "../results-table.ts";
import { WAITING_WAYS, type WaitingWay } from "./waiting-ways.ts";

interface Sample {
  readonly p50Us: number;
  readonly cpuUs: number;
}

async function measureWay(way: WaitingWay, rounds: string): Promise<Sample> {
  const client = Bun.spawn({
    cmd: [process.execPath, new URL("client.ts", import.meta.url).pathname, way, rounds],
    stdio: ["ignore", "pipe", "inherit"],
  });
  return JSON.parse(await client.stdout.text()) as Sample;
}

const [rounds = "3000", repeats = "3"] = process.argv.slice(2);
const samples = new Map<WaitingWay, Sample[]>(WAITING_WAYS.map((way) => [way, []]));
for (let repeat = 0; repeat < Number(repeats); repeat += 1) {
  for (const way of WAITING_WAYS) samples.get(way)?.push(await measureWay(way, rounds));
}

const floor = samples.get("blocking") ?? [];
console.log("| how the client waits | p50 | over the floor | CPU per round |");
console.log("| --- | --- | --- | --- |");
for (const [way, runs] of samples) {
  const p50 = median(runs.map((run) => run.p50Us));
  const over = median(runs.map((run, index) => run.p50Us - (floor[index]?.p50Us ?? 0)));
  const cpu = median(runs.map((run) => run.cpuUs));
  console.log(`| ${way} | ${p50.toFixed(1)} us | ${over.toFixed(1)} us | ${cpu.toFixed(1)} us |`);
}
