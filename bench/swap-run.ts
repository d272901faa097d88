/**
 * Runs a swap scenario: one stream of messages through one broker, under two policies in turns. Two
 * brokers differ by far more than what is to be seen, for reasons that have nothing to do with them.
 * Beside the rate stands the CPU time that the broker takes for a message, which other work on the
 * machine changes less.
 */

import type { Measurement } from "./measurement.ts";
import { readCpuMs, readMainThreadCpuNs, readPeakRssMib } from "./process-usage.ts";
import type { RelayServer } from "./relay-server.ts";
import { median } from "./results-table.ts";
import { RoleProcess } from "./role-process.ts";
import type { SwapScenario } from "./scenarios.ts";
import { StreamProcesses } from "./stream-processes.ts";
import { growth, medianRatio, millisecondsOf, type Sample } from "./stretches.ts";
import { type TimedStretch, type WorkOrder, wallClockMs } from "./work-order.ts";

const CPU_SAMPLE_INTERVAL_MS = 20;

/**
 * Runs the scenario once.
 * @param relay the broker, ready
 * @throws {Error} where a message was lost, or a process failed
 */
export async function measureSwaps(
  scenario: SwapScenario,
  order: WorkOrder,
  relay: RelayServer,
): Promise<Measurement> {
  await using stream = await StreamProcesses.start(order);
  const cpuSamples: Sample[] = [];
  const sampleCpu = () =>
    cpuSamples.push({ at: wallClockMs(), value: readMainThreadCpuNs(relay.pid) });
  const cpuFrom = readCpuMs(relay.pid);
  await using swapper = new RoleProcess("roles/raw-swapper.ts", order);
  const sampling = setInterval(sampleCpu, CPU_SAMPLE_INTERVAL_MS);
  const { stretches } = await swapper.expect("stretches").finally(() => clearInterval(sampling));
  const cpuMs = readCpuMs(relay.pid) - cpuFrom;
  const [{ messages, counts }] = await stream.finish();
  const countSamples = counts.map(({ at, messages: value }) => ({ at, value }));
  const rate = (stretch: TimedStretch) => growth(countSamples, stretch) / millisecondsOf(stretch);
  const cpu = (stretch: TimedStretch) =>
    growth(cpuSamples, stretch) / growth(countSamples, stretch);
  const kinds = { of: "other", to: "one" } as const;
  return {
    name: scenario.name,
    perSecond: median(stretches.map(rate)) * 1000,
    checked: messages,
    relayCpuNs: (cpuMs * 1e6) / messages,
    relayPeakRssMib: readPeakRssMib(relay.pid),
    extra: [
      {
        label: "rate to the first policy",
        value: medianRatio(stretches, kinds, rate),
        unit: "times",
      },
      { label: "CPU", value: medianRatio(stretches, kinds, cpu), unit: "times" },
    ],
  };
}
