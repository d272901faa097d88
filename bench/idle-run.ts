/** Runs an idle scenario: what memory connections take that do nothing. */

import type { Measurement } from "./measurement.ts";
import { readCpuMs, readPeakRssMib, readRssKib } from "./process-usage.ts";
import type { RelayServer } from "./relay-server.ts";
import { roleFile } from "./role-files.ts";
import { RoleProcess } from "./role-process.ts";
import type { IdleScenario } from "./scenarios.ts";
import type { WorkOrder } from "./work-order.ts";

/** Runs the scenario once. */
export async function measureIdle(
  scenario: IdleScenario,
  order: WorkOrder,
  relay: RelayServer,
): Promise<Measurement> {
  const { connections, connectionsBefore } = scenario;
  const file = roleFile(scenario.relay, "raw", "idle");
  await using first = new RoleProcess(file, { ...order, idleConnections: connectionsBefore });
  await first.expect("ready");
  const rssFrom = readRssKib(relay.pid);
  const cpuFrom = readCpuMs(relay.pid);
  const startedAt = performance.now();
  await using crowd = new RoleProcess(file, order);
  await crowd.expect("ready");
  const ms = performance.now() - startedAt;
  const grownKib = readRssKib(relay.pid) - rssFrom;
  return {
    name: scenario.name,
    perSecond: (connections / ms) * 1000,
    checked: connections,
    relayCpuNs: ((readCpuMs(relay.pid) - cpuFrom) * 1e6) / connections,
    relayPeakRssMib: readPeakRssMib(relay.pid),
    extra: [{ label: "RSS a connection", value: grownKib / connections, unit: "KiB" }],
  };
}
