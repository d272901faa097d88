/**
 * Large bodies through the broker, between library clients, beside a relay that only passes fds
 * on. Run: `bun bench/large/main.ts [seconds] [repeats]`. docs/performance.md has the figures.
 */

import { median } from "../results-table.ts";
import { type LargeResult, type LargeScenario, runLarge } from "./large-run.ts";

const KIB = 1024;
const WARM_UP_MS = 700;

interface NamedScenario {
  readonly name: string;
  readonly of: Omit<LargeScenario, "relay">;
}

function scenariosOf(bodyBytes: number): NamedScenario[] {
  const size = bodyBytes >= KIB * KIB ? `${bodyBytes / KIB / KIB} MiB` : `${bodyBytes / KIB} KiB`;
  return [1, 16].flatMap((subscribers) => {
    const of = { bodyBytes, subscribers, isShared: false } as const;
    const name = `${size} to ${subscribers}`;
    return [
      { name: `${name}, every byte`, of: { ...of, reading: "every byte" } },
      { name: `${name}, only mapped`, of: { ...of, reading: "only mapped" } },
      { name: `${name}, one Memory`, of: { ...of, reading: "only mapped", isShared: true } },
    ] as const;
  });
}

function row(name: string, floor: readonly LargeResult[], library: readonly LargeResult[]): string {
  const rate = (runs: readonly LargeResult[]): string =>
    Math.round(median(runs.map(({ perSecond }) => perSecond))).toLocaleString("en");
  const ratios = library.map(({ perSecond }, index) => perSecond / (floor[index]?.perSecond ?? 0));
  const cpu = (runs: readonly LargeResult[]): string =>
    median(runs.map(({ relayCpuUs }) => relayCpuUs)).toFixed(1);
  const spread = `${Math.min(...ratios).toFixed(2)} - ${Math.max(...ratios).toFixed(2)}`;
  const cells = [rate(floor), rate(library), median(ratios).toFixed(2), spread, cpu(floor)];
  return `| ${[name, ...cells, cpu(library)].join(" | ")} |`;
}

const [seconds = "2", repeats = "3"] = process.argv.slice(2);
const times = { warmUpMs: WARM_UP_MS, measureMs: Number(seconds) * 1000 };
console.log("| bodies | floor | library | ratio | low - high | CPU floor | CPU broker |");
console.log("| --- | --- | --- | --- | --- | --- | --- |");
for (const { name, of } of [...scenariosOf(256 * KIB), ...scenariosOf(4 * KIB * KIB)]) {
  const floor: LargeResult[] = [];
  const library: LargeResult[] = [];
  for (let repeat = 0; repeat < Number(repeats); repeat += 1) {
    floor.push(await runLarge({ ...of, relay: "floor" }, times));
    library.push(await runLarge({ ...of, relay: "library" }, times));
  }
  console.log(row(name, floor, library));
}
