/**
 * Runs a latency scenario: round trips in turns, each with a pinging process and an echo of its own.
 * The figures are those of all rounds together, as if they were one turn's.
 */

import { join } from "node:path";
import type { Measurement } from "./measurement.ts";
import { coresOf, startOn } from "./placement.ts";
import { readCpuMs, readPeakRssMib } from "./process-usage.ts";
import type { RelayServer } from "./relay-server.ts";
import { type RolePart, roleFile } from "./role-files.ts";
import { RoleProcess } from "./role-process.ts";
import type { LatencyScenario } from "./scenarios.ts";
import type { LatencyReport, WorkOrder } from "./work-order.ts";

/** The relay is warm after the first turn; the clients of the next ones warm up for this part of the time. */
const LATER_WARM_UP_SHARE = 0.4;

const SAMPLES_FILE = "samples";

/**
 * Runs the scenario once.
 * @param order the time and the rounds of all turns together
 * @param directory of the run, not the peer's address: samples are kept there
 * @throws {Error} where an answer was not that of its round, or a process failed
 */
export async function measureLatency(
  scenario: LatencyScenario,
  order: WorkOrder,
  relay: RelayServer,
  directory: string,
): Promise<Measurement> {
  const { turns = 1 } = scenario;
  const samplesPath = join(directory, SAMPLES_FILE);
  const cpuFrom = readCpuMs(relay.pid);
  let rounds = 0;
  let last: LatencyReport | undefined;
  for (let turn = 0; turn < turns; turn += 1) {
    last = await takeTurn(scenario, { ...orderOfTurn(order, turn, turns), samplesPath });
    rounds += last.rounds;
  }
  if (last === undefined) throw new Error(`${scenario.name} has no turn`);
  // Each turn's report is about the samples of those before, too.
  const { type: _, rounds: __, ...times } = last;
  const cpuMs = readCpuMs(relay.pid) - cpuFrom;
  return {
    name: scenario.name,
    perSecond: 1e6 / times.p50Us,
    checked: rounds,
    ...times,
    relayCpuNs: (cpuMs * 1e6) / rounds,
    relayPeakRssMib: readPeakRssMib(relay.pid),
  };
}

function orderOfTurn(order: WorkOrder, turn: number, turns: number): WorkOrder {
  const measureMs = (order.durationMs - order.warmUpMs) / turns;
  const warmUpMs = turn === 0 ? order.warmUpMs : order.warmUpMs * LATER_WARM_UP_SHARE;
  const messagesMax = Math.ceil(order.messagesMax / turns);
  return { ...order, warmUpMs, durationMs: warmUpMs + measureMs, messagesMax };
}

async function takeTurn(scenario: LatencyScenario, order: WorkOrder): Promise<LatencyReport> {
  const { relay, client, placement = "unpinned" } = scenario;
  const { clients } = coresOf(placement);
  const start = (part: RolePart) =>
    startOn(clients, () => new RoleProcess(roleFile(relay, client, part), order));
  await using echo = await start("echo");
  await echo.expect("ready");
  await using ping = await start("ping");
  return await ping.expect("latency");
}
