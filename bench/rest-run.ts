/** Runs a rest scenario: what a relay takes of the machine while nobody wants anything of it. */

import type { Measurement } from "./measurement.ts";
import {
  readCpuMs,
  readPeakRssMib,
  readRssKib,
  readWakeUps,
  wakeUpsSince,
} from "./process-usage.ts";
import type { RelayServer } from "./relay-server.ts";
import type { RestScenario } from "./strain-scenarios.ts";
import type { WorkOrder } from "./work-order.ts";

/** What was taken to start is put away only after some seconds. */
const SETTLING_WARM_UPS = 5;

/**
 * Runs the scenario once.
 * @param order its time after the warm-up counts
 */
export async function measureRest(
  scenario: RestScenario,
  order: WorkOrder,
  relay: RelayServer,
): Promise<Measurement> {
  await Bun.sleep(SETTLING_WARM_UPS * order.warmUpMs);
  const [wakeUpsFrom, cpuFrom, startedAt] = [
    readWakeUps(relay.pid),
    readCpuMs(relay.pid),
    performance.now(),
  ];
  await Bun.sleep(order.durationMs - order.warmUpMs);
  const ms = performance.now() - startedAt;
  const wakeUpsTo = readWakeUps(relay.pid);
  const cpuMs = readCpuMs(relay.pid) - cpuFrom;
  const ofAll = (wakeUpsSince(wakeUpsFrom, wakeUpsTo) / ms) * 1000;
  const ofMain = (wakeUpsSince(wakeUpsFrom, mainThread(wakeUpsTo, relay.pid)) / ms) * 1000;
  return {
    name: scenario.name,
    perSecond: ofAll,
    checked: 1,
    relayCpuNs: (cpuMs / ms) * 1e9,
    relayPeakRssMib: readPeakRssMib(relay.pid),
    extra: [
      { label: "RSS", value: readRssKib(relay.pid) / 1024, unit: "MiB" },
      { label: "wake-ups of the main thread", value: ofMain, unit: "a second" },
      { label: "wake-ups of all threads", value: ofAll, unit: "a second" },
      { label: "CPU", value: (cpuMs / ms) * 100, unit: "%" },
    ],
  };
}

/** A process's first thread has its number. */
function mainThread(wakeUps: Map<string, number>, pid: number): Map<string, number> {
  return new Map([...wakeUps].filter(([thread]) => thread === String(pid)));
}
