/**
 * Runs a siege scenario: round trips of this user while nothing else happens, while clients of another
 * user misbehave on the same bus, and while they do so on another one. The last shows what it costs
 * that the machine is busy; only what the second costs beyond it is the broker's doing.
 */

import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { type Bus, connect } from "../src/client/index.ts";
import type { Measurement } from "./measurement.ts";
import { countOpenFiles, readCpuMs, readPeakRssMib } from "./process-usage.ts";
import { awaitTraces, countAll, demandDeeds } from "./rabble/evidence.ts";
import { type RelayServer, startRelay } from "./relay-server.ts";
import { median } from "./results-table.ts";
import { RoleProcess } from "./role-process.ts";
import type { SiegeScenario } from "./strain-scenarios.ts";
import type { BesiegedReport, LatencyReport, WorkOrder } from "./work-order.ts";

/** Who may pass through the directory of a run: the other user must reach the sockets in it. */
const DIRECTORY_MODE = 0o755;

/** Milliseconds between two looks whether the broker has got rid of a crowd. */
const LOOK_INTERVAL_MS = 50;

/** Files that a broker may keep open from a crowd: those of threads that it was the first to need. */
const FILES_KEPT_MAX = 16;

/** A broker that is besieged. */
interface Target {
  readonly order: WorkOrder;
  readonly pid: number;
  /** An administrator's. */
  readonly bus: Bus;
}

/** The round trips of one kind of stretch. */
type Reports = LatencyReport[];

/**
 * Runs the scenario once; takes root.
 * @param relay the broker, ready
 * @throws {Error} where a process failed
 */
export async function measureSiege(
  scenario: SiegeScenario,
  order: WorkOrder,
  relay: RelayServer,
): Promise<Measurement> {
  const directory = join(order.path, "..");
  await chmod(directory, DIRECTORY_MODE);
  const elsewhereOrder = { ...order, path: join(directory, "elsewhere.sock") };
  await using elsewhere = await startRelay("broker", elsewhereOrder);
  await using bus = await connect({ path: order.path });
  await using elsewhereBus = await connect({ path: elsewhereOrder.path });
  const here: Target = { order, pid: relay.pid, bus };
  const there: Target = { order: elsewhereOrder, pid: elsewhere.pid, bus: elsewhereBus };
  await using echo = new RoleProcess("roles/raw-echo.ts", order);
  await echo.expect("ready");
  const cpuFrom = readCpuMs(relay.pid);
  const atRest: Reports = [];
  const besieged: Reports = [];
  const beside: Reports = [];
  let attempts = 0;
  let packets = 0;
  for (let turn = 0; turn < scenario.turns; turn += 1) {
    atRest.push(await ping(order));
    const report = await besiege(here, async () => {
      besieged.push(await ping(order));
    });
    attempts += report.attempts;
    packets += Object.values(report.deeds).reduce((sum, each) => sum + each, 0);
    await besiege(there, async () => {
      beside.push(await ping(order));
    });
  }
  const rounds = [...atRest, ...besieged, ...beside].reduce((sum, each) => sum + each.rounds, 0);
  const [rest, siege, busy] = [atRest, besieged, beside].map(middle);
  if (rest === undefined || siege === undefined || busy === undefined) throw new Error("No turn");
  return {
    name: scenario.name,
    perSecond: 1e6 / siege.p50Us,
    checked: rounds,
    ...siege,
    relayCpuNs: ((readCpuMs(relay.pid) - cpuFrom) * 1e6) / rounds,
    relayPeakRssMib: readPeakRssMib(relay.pid),
    extra: [
      { label: "p99 to that at rest", value: siege.p99Us / rest.p99Us, unit: "times" },
      { label: "p99 to that beside another bus", value: siege.p99Us / busy.p99Us, unit: "times" },
      { label: "p99 at rest", value: rest.p99Us, unit: "us" },
      { label: "p99 beside", value: busy.p99Us, unit: "us" },
      { label: "connections tried", value: attempts, unit: "in all" },
      { label: "packets of those who stayed", value: packets, unit: "in all" },
    ],
  };
}

/** Medians of several reports; NaN where none has the figure. */
function middle(reports: Reports): Required<Pick<LatencyReport, "p50Us" | "p99Us" | "p999Us">> {
  return {
    p50Us: median(reports.map(({ p50Us }) => p50Us)),
    p99Us: median(reports.flatMap(({ p99Us }) => p99Us ?? [])),
    p999Us: median(reports.flatMap(({ p999Us }) => p999Us ?? [])),
  };
}

async function ping(order: WorkOrder): Promise<LatencyReport> {
  const durationMs = order.siege?.pingMs ?? 0;
  await using process = new RoleProcess("roles/raw-ping.ts", { ...order, durationMs });
  return await process.expect("latency");
}

/**
 * Does something while a crowd misbehaves, and waits until nothing is left of the crowd.
 * @returns what the crowd has done
 * @throws {Error} where it has not done all that it should
 */
async function besiege(
  { order, pid, bus }: Target,
  meanwhile: () => Promise<void>,
): Promise<BesiegedReport> {
  const openFiles = countOpenFiles(pid);
  const before = await countAll(bus);
  let report: BesiegedReport;
  {
    await using crowd = new RoleProcess("roles/raw-rabble.ts", order);
    await crowd.expect("ready");
    await meanwhile();
    await awaitTraces(bus, before);
    crowd.kill("SIGUSR1");
    report = await crowd.expect("besieged");
  }
  while (countOpenFiles(pid) > openFiles + FILES_KEPT_MAX) await Bun.sleep(LOOK_INTERVAL_MS);
  let after = await countAll(bus);
  while (after.get("connections") !== before.get("connections")) {
    await Bun.sleep(LOOK_INTERVAL_MS);
    after = await countAll(bus);
  }
  demandDeeds(report);
  return report;
}
