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
import { SWAP_KINDS, type TimedStretch, type WorkOrder, wallClockMs } from "./work-order.ts";

const CPU_SAMPLE_INTERVAL_MS = 20;

/** Something that grows, as it was at one moment. */
interface Sample {
  /** By wallClockMs(). */
  readonly at: number;
  readonly value: number;
}

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
  const { messages, counts } = await stream.finish();
  const countSamples = counts.map(({ at, messages: value }) => ({ at, value }));
  const rate = (stretch: TimedStretch) => growth(countSamples, stretch) / millisecondsOf(stretch);
  const cpu = (stretch: TimedStretch) =>
    growth(cpuSamples, stretch) / growth(countSamples, stretch);
  return {
    name: scenario.name,
    perSecond: median(stretches.map(rate)) * 1000,
    checked: messages,
    relayCpuNs: (cpuMs * 1e6) / messages,
    relayPeakRssMib: readPeakRssMib(relay.pid),
    extra: [
      { label: "rate to the first policy", value: medianRatio(stretches, rate), unit: "times" },
      { label: "CPU", value: medianRatio(stretches, cpu), unit: "times" },
    ],
  };
}

function millisecondsOf({ from, to }: TimedStretch): number {
  return to - from;
}

/** Under the second policy by under the first, each with its neighbour in time. */
function medianRatio(
  stretches: readonly TimedStretch[],
  figure: (stretch: TimedStretch) => number,
): number {
  const [one = [], other = []] = SWAP_KINDS.map((kind) =>
    stretches.filter((stretch) => stretch.kind === kind).map(figure),
  );
  return median(other.map((value, index) => value / (one[index] ?? Number.NaN)));
}

/** How much something grew in a stretch of time. */
function growth(samples: readonly Sample[], { from, to }: TimedStretch): number {
  return valueAt(samples, to) - valueAt(samples, from);
}

/** Between the two samples around a moment, as if it grew evenly; NaN where there are none. */
function valueAt(samples: readonly Sample[], at: number): number {
  const index = samples.findIndex((sample) => sample.at >= at);
  const before = samples[index - 1];
  const after = samples[index];
  if (before === undefined || after === undefined) return Number.NaN;
  const share = (at - before.at) / (after.at - before.at);
  return before.value + (after.value - before.value) * share;
}
