/** For each work: how far seqbus is ahead of the best peer with the same kind of client, or behind it. */

import { groupByWork } from "./comparison-table.ts";
import type { Measurement } from "./measurement.ts";
import { millions, timeWords } from "./result-words.ts";
import { type Result, ratioOf, type Spread } from "./results-table.ts";

/** Which colour and which kind a contestant has. */
export type ContestantKind = "floor" | "ours" | "ours-library" | "peer" | "npm";

/** One comparison of two. */
export interface Lead {
  readonly work: string;
  readonly clients: "raw" | "library";
  /** What is compared: "rate", "p50", "p99", or the label of an extra figure. */
  readonly figure: string;
  /** Of a cost, such as memory, less is better, and nobody is "ahead". */
  readonly isCost: boolean;
  readonly own: Result;
  readonly ownWords: string;
  /** The one with the best median of this figure. */
  readonly best: Result;
  readonly bestWords: string;
  /** Above 1: seqbus is better. 0 where only the peer takes nothing, NaN where neither takes any. */
  readonly times: Spread;
  /** The same beside the floor in C, for raw clients where there is one. */
  readonly ofFloor: Spread | undefined;
  /** What the relay takes for one delivery or round trip, by what that of the peer takes. */
  readonly cpuTimes: Spread | undefined;
}

/** A figure that contestants are compared by. */
interface Figure {
  readonly name: string;
  readonly kind: "rate" | "time" | "cost";
  readonly ofRun: (run: Measurement) => number | undefined;
  readonly ofResult: (result: Result) => number;
  readonly words: (result: Result) => string;
}

const RATE: Figure = {
  name: "rate",
  kind: "rate",
  ofRun: ({ perSecond }) => perSecond,
  ofResult: ({ perSecond }) => perSecond.value,
  words: ({ perSecond }) => millions(perSecond.value),
};

const ROUND_TRIPS: readonly Figure[] = [roundTrip("p50", "p50Us"), roundTrip("p99", "p99Us")];

/** Digits of a ratio after the point: one that reads 1.00 says that none is ahead. */
const EVEN_DIGITS = 2;

/** What a contestant is. */
export function kindOf(result: Result): ContestantKind {
  if (result.relay.startsWith("floor")) return "floor";
  const isLibrary = /, (npm|library)$/.test(result.name);
  if (result.relay === "broker") return isLibrary ? "ours-library" : "ours";
  return isLibrary ? "npm" : "peer";
}

/** All that can be compared, in the order of the works. */
export function findLeads(results: readonly Result[]): Lead[] {
  return groupByWork(results).flatMap(({ work, results: members }) => [
    ...leadsOf(work, "raw", members),
    ...leadsOf(work, "library", members),
  ]);
}

/** How a comparison went. What is 1.00 when rounded is even. */
export function verdictOf({ times }: Pick<Lead, "times">): "ahead" | "behind" | "even" {
  if (Number.isNaN(times.value)) return "even";
  const rounded = Number(times.value.toFixed(EVEN_DIGITS));
  if (rounded === 1) return "even";
  return rounded > 1 ? "ahead" : "behind";
}

function roundTrip(name: string, key: "p50Us" | "p99Us"): Figure {
  const ofResult = ({ latency }: Result): number => latency?.[key].value ?? Number.NaN;
  return {
    name,
    kind: "time",
    ofRun: (run) => run[key],
    ofResult,
    words: (result) => timeWords(ofResult(result) * 1e3),
  };
}

function cost(name: string, index: number): Figure {
  return {
    name,
    kind: "cost",
    ofRun: ({ extra }) => extra?.[index]?.value,
    ofResult: ({ extra }) => extra[index]?.value ?? Number.NaN,
    words: ({ extra }) => {
      const figure = extra[index];
      if (figure === undefined) return "";
      return figure.value === 0 ? "none" : `${figure.value.toFixed(1)} ${figure.unit}`;
    },
  };
}

/** Round trips count by their times, what is at rest by what it takes, all else by its rate. */
function figuresOf({ latency, extra }: Result): readonly Figure[] {
  if (latency !== undefined) return ROUND_TRIPS;
  return extra.length > 0 ? extra.map(({ label }, index) => cost(label, index)) : [RATE];
}

function leadsOf(work: string, clients: Lead["clients"], results: readonly Result[]): Lead[] {
  const [ours, theirs] = clients === "raw" ? ["ours", "peer"] : ["ours-library", "npm"];
  const own = results.find((result) => kindOf(result) === ours);
  const peers = results.filter((result) => kindOf(result) === theirs);
  if (own === undefined) return [];
  const floor = clients === "raw" ? results.find(({ relay }) => relay === "floor-c") : undefined;
  return figuresOf(own).flatMap((figure) => {
    const best = bestOf(peers, figure);
    return best === undefined ? [] : leadOver({ work, clients, own, best, figure, floor });
  });
}

function bestOf(peers: readonly Result[], { kind, ofResult }: Figure): Result | undefined {
  const merit = (result: Result): number => (kind === "rate" ? 1 : -1) * ofResult(result);
  return peers
    .filter((peer) => !Number.isNaN(ofResult(peer)))
    .reduce<Result | undefined>(
      (best, peer) => (best === undefined || merit(peer) > merit(best) ? peer : best),
      undefined,
    );
}

interface Compared extends Pick<Lead, "work" | "clients" | "own" | "best"> {
  readonly figure: Figure;
  readonly floor: Result | undefined;
}

function leadOver({ work, clients, own, best, figure, floor }: Compared): Lead {
  const { name, kind, ofRun, words } = figure;
  const beside = (other: Result): Spread =>
    kind === "rate"
      ? ratioOf(own.repeats, other.repeats, ofRun)
      : ratioOf(other.repeats, own.repeats, ofRun);
  const isCost = kind === "cost";
  const cpu = ratioOf(own.repeats, best.repeats, ({ relayCpuNs }) => relayCpuNs);
  return {
    work,
    clients,
    figure: name,
    isCost,
    own,
    ownWords: words(own),
    best,
    bestWords: words(best),
    times: beside(best),
    ofFloor: isCost || floor === undefined ? undefined : beside(floor),
    cpuTimes: isCost ? undefined : cpu,
  };
}
