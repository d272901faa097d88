/**
 * Runs a stall scenario: one stream, and a subscriber beside those that count, which is absent, reads,
 * and is stopped by SIGSTOP, in turns. All turns belong to one run of one broker.
 */

import type { ExtraFigure, Measurement } from "./measurement.ts";
import { readCpuMs, readPeakRssMib } from "./process-usage.ts";
import type { RelayServer } from "./relay-server.ts";
import { median } from "./results-table.ts";
import { RoleProcess } from "./role-process.ts";
import type { StallScenario } from "./strain-scenarios.ts";
import { StreamProcesses } from "./stream-processes.ts";
import { growth, medianRatio, millisecondsOf } from "./stretches.ts";
import {
  type ObservedReport,
  STALL_KINDS,
  type TimedStretch,
  type WorkOrder,
  wallClockMs,
} from "./work-order.ts";

/**
 * Runs the scenario once.
 * @param relay the broker, ready
 * @throws {Error} where one that counts lost a message, or a process failed
 */
export async function measureStall(
  scenario: StallScenario,
  order: WorkOrder,
  relay: RelayServer,
): Promise<Measurement> {
  await using stream = await StreamProcesses.start(order);
  await Bun.sleep(order.warmUpMs);
  const cpuFrom = readCpuMs(relay.pid);
  const stretches: TimedStretch[] = [];
  for (let turn = 0; turn < scenario.turns; turn += 1) {
    stretches.push(...(await takeTurn(scenario, order)));
  }
  const cpuMs = readCpuMs(relay.pid) - cpuFrom;
  const observed = await stream.finish();
  const messages = observed.reduce((sum, each) => sum + each.messages, 0);
  const rate = (stretch: TimedStretch) => rateIn(observed, stretch);
  const ratio = (label: string, of: "reads" | "stopped"): ExtraFigure => {
    return { label, value: medianRatio(stretches, { of, to: "absent" }, rate), unit: "times" };
  };
  const absent = stretches.filter(({ kind }) => kind === "absent");
  return {
    name: scenario.name,
    perSecond: median(absent.map(rate)),
    checked: messages,
    relayCpuNs: (cpuMs * 1e6) / messages,
    relayPeakRssMib: readPeakRssMib(relay.pid),
    extra: [
      ratio("rate of the others while one is stopped", "stopped"),
      ratio("while it reads", "reads"),
    ],
  };
}

/** One stretch of each kind. */
async function takeTurn(scenario: StallScenario, order: WorkOrder): Promise<TimedStretch[]> {
  const lastFor = async (kind: TimedStretch["kind"]): Promise<TimedStretch> => {
    const from = wallClockMs();
    await Bun.sleep(scenario.stretchMs);
    return { kind, from, to: wallClockMs() };
  };
  const [absent, reads, stopped] = STALL_KINDS;
  const alone = await lastFor(absent);
  await using drain = new RoleProcess("roles/raw-drain.ts", order);
  await drain.expect("ready");
  const reading = await lastFor(reads);
  drain.kill("SIGSTOP");
  const stalled = await lastFor(stopped);
  // A process that is stopped does not end by SIGTERM before it goes on.
  drain.kill("SIGKILL");
  return [alone, reading, stalled];
}

/** Deliveries a second to all that count. */
function rateIn(observed: readonly ObservedReport[], stretch: TimedStretch): number {
  const deliveries = observed.map(({ counts }) => {
    const samples = counts.map(({ at, messages: value }) => ({ at, value }));
    return growth(samples, stretch);
  });
  return (deliveries.reduce((sum, each) => sum + each, 0) / millisecondsOf(stretch)) * 1000;
}
