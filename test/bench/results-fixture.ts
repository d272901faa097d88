/** Made-up measurements, for what the benchmark prints and draws. Nothing is measured. */

import { COMPARISONS } from "../../bench/comparisons.ts";
import type { Measurement } from "../../bench/measurement.ts";
import { type Result, summarizeRepeats } from "../../bench/results-table.ts";
import type { Scenario } from "../../bench/scenarios.ts";

/** One run with nothing of note but its rate. */
export function measurementOf(name: string, perSecond: number): Measurement {
  return { name, perSecond, checked: 1, relayCpuNs: 10, relayPeakRssMib: 5 };
}

/** One run of round trips, all of which took as long. */
export function roundTripsOf(name: string, us: number): Measurement {
  const latency = { p50Us: us, p99Us: us, p999Us: us, quantilesUs: [us, us, us] };
  return { ...measurementOf(name, 1e6 / us), ...latency };
}

/** The comparisons of one work. */
export function scenariosOf(work: string): Scenario[] {
  return COMPARISONS.filter((scenario) => scenario.work === work);
}

/**
 * Results of a work.
 * @param figures by contestant, one for each repeat; null where that repeat failed
 * @param measured makes one run of one figure
 */
export function resultsOf(
  work: string,
  figures: Readonly<Record<string, readonly (number | null)[]>>,
  measured: (name: string, figure: number) => Measurement = measurementOf,
): Result[] {
  const count = Math.max(...Object.values(figures).map(({ length }) => length));
  const repeats = Array.from({ length: count }, (_, repeat) => {
    const runs = Object.entries(figures).flatMap(([who, each]) => {
      const [name, figure] = [`${work}: ${who}`, each[repeat] ?? null];
      return figure === null ? [] : [[name, measured(name, figure)] as const];
    });
    return new Map(runs);
  });
  return summarizeRepeats(scenariosOf(work), repeats);
}
