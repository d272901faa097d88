/**
 * Runs a reload scenario: a publisher and a subscriber, a crowd that has rights to be refreshed, and
 * a reloader. Finds the longest time without a delivery at rest, while the policy is only read (which
 * takes a core of the machine, but nothing of the broker), and during a reload.
 */

import type { ExtraFigure, Measurement } from "./measurement.ts";
import { readCpuMs, readPeakRssMib } from "./process-usage.ts";
import type { RelayServer } from "./relay-server.ts";
import { RoleProcess } from "./role-process.ts";
import type { ReloadScenario } from "./scenarios.ts";
import { StreamProcesses } from "./stream-processes.ts";
import type { ObservedReport, StretchKind, TimedStretch, WorkOrder } from "./work-order.ts";

/** Processes that the connections of a crowd are shared out to. */
export const CROWD_PROCESSES = 2;

const STRETCH_WORDS: readonly (readonly [StretchKind, string])[] = [
  ["rest", "longest gap at rest"],
  ["reader", "while files are read"],
  ["reload", "in a reload"],
];

/**
 * Runs the scenario once.
 * @param relay the broker, ready
 * @throws {Error} where a message was lost, a connection was not told of a reload, or a process failed
 */
export async function measureReload(
  scenario: ReloadScenario,
  order: WorkOrder,
  relay: RelayServer,
): Promise<Measurement> {
  await using processes = new AsyncDisposableStack();
  const start = (file: string) => processes.use(new RoleProcess(`roles/${file}.ts`, order));
  const crowds = Array.from({ length: CROWD_PROCESSES }, () => start("raw-crowd"));
  await Promise.all(crowds.map((crowd) => crowd.expect("ready")));
  const cpuFrom = readCpuMs(relay.pid);
  const stream = processes.use(await StreamProcesses.start(order));
  const { stretches } = await start("raw-reloader").expect("stretches");
  await Promise.all(crowds.map((crowd) => crowd.expect("refreshed")));
  const [observed] = await stream.finish();
  return {
    name: scenario.name,
    perSecond: (observed.messages / observed.ms) * 1000,
    checked: observed.messages,
    relayCpuNs: ((readCpuMs(relay.pid) - cpuFrom) * 1e6) / observed.messages,
    relayPeakRssMib: readPeakRssMib(relay.pid),
    extra: STRETCH_WORDS.map(([kind, label]) => longestGap(label, kind, observed, stretches)),
  };
}

/** Of all stretches of one kind. */
function longestGap(
  label: string,
  kind: StretchKind,
  { gaps }: ObservedReport,
  stretches: readonly TimedStretch[],
): ExtraFigure {
  let value = 0;
  for (const stretch of stretches) {
    if (stretch.kind !== kind) continue;
    for (const { endedAt, ms } of gaps) {
      const isWithin = endedAt >= stretch.from && endedAt < stretch.to;
      if (isWithin) value = Math.max(value, ms);
    }
  }
  return { label, value, unit: "ms" };
}
