/** Measures one way of waiting against a slow peer, and prints one JSON object. */

import { openSeqpacketPair } from "../../src/ffi/seqpacket.ts";
import { median } from "../results-table.ts";
import { openWay, type WaitingWay } from "./waiting-ways.ts";

const WARM_UP_ROUNDS = 500;

const [way = "blocking", roundsText = "3000"] = process.argv.slice(2);
const [ours, theirs] = openSeqpacketPair();
Bun.spawn({
  cmd: [process.execPath, new URL("slow-peer.ts", import.meta.url).pathname],
  stdio: ["ignore", "ignore", "inherit", theirs],
});

const roundTrip = await openWay(way as WaitingWay, ours);
const rounds = Number(roundsText);
for (let round = 0; round < WARM_UP_ROUNDS; round += 1) await roundTrip();
const times: number[] = [];
const cpuFrom = process.cpuUsage();
for (let round = 0; round < rounds; round += 1) {
  const startedAt = performance.now();
  await roundTrip();
  times.push((performance.now() - startedAt) * 1000);
}
const { user, system } = process.cpuUsage(cpuFrom);
console.log(JSON.stringify({ p50Us: median(times), cpuUs: (user + system) / rounds }));
process.exit(0);
