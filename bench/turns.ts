/**
 * Measures scenarios as often as asked, in turns: what the machine does meanwhile hits all alike. A
 * scenario that fails is noted, and the others go on. Prints nothing itself.
 */

import type { Measurement } from "./measurement.ts";
import { isPeer } from "./peers/peer-kinds.ts";
import { millions, timeWords } from "./result-words.ts";
import type { Scenario } from "./scenarios.ts";
import { leftWords, TimeLeft } from "./time-left.ts";
import type { RelayKind } from "./work-order.ts";

/** A run that gave no figures: a message was lost, or a process failed. */
export interface Failure {
  readonly name: string;
  readonly relay: RelayKind;
  /** From 1 on. */
  readonly repeat: number;
  readonly reason: string;
}

/** What there is so far. */
export interface TurnsSoFar {
  /** One map by scenario name for each repeat that has begun. */
  readonly repeats: readonly ReadonlyMap<string, Measurement>[];
  readonly failures: readonly Failure[];
}

/** What is to be done, and who is told. */
export interface TurnsPlan {
  readonly scenarios: readonly Scenario[];
  readonly repeats: number;
  readonly measure: (scenario: Scenario) => Promise<Measurement>;
  /** Takes pieces of text about the progress, with their line breaks. */
  readonly say: (text: string) => void;
  /** Called whenever there is something new, so that an end at any time loses nothing. */
  readonly save: (soFar: TurnsSoFar) => Promise<void>;
}

/** Takes all turns. Rejects only where `save` does. */
export async function takeTurns(plan: TurnsPlan): Promise<TurnsSoFar> {
  const { scenarios, repeats: repeatCount, say } = plan;
  const repeats: Map<string, Measurement>[] = [];
  const failures: Failure[] = [];
  const timeLeft = new TimeLeft();
  const names = scenarios.map(({ name }) => name);
  for (let repeat = 1; repeat <= repeatCount; repeat += 1) {
    const measurements = new Map<string, Measurement>();
    repeats.push(measurements);
    const later = Array.from({ length: repeatCount - repeat }, () => names).flat();
    for (const [index, scenario] of scenarios.entries()) {
      const left = leftWords(timeLeft.guessMs([...names.slice(index), ...later]));
      const at = `${repeat}/${repeatCount} ${index + 1}/${scenarios.length}`;
      say(`${at}${left === "" ? "" : `, ${left}`}  ${scenario.name} …`);
      const startedAt = performance.now();
      try {
        const measurement = await plan.measure(scenario);
        measurements.set(scenario.name, measurement);
        say(` ${figureWords(measurement)}\n`);
      } catch (error) {
        const { name, relay } = scenario;
        failures.push({ name, relay, repeat, reason: (error as Error).message });
        say(` FAILED: ${(error as Error).message}\n`);
      }
      timeLeft.note(scenario.name, performance.now() - startedAt);
      await plan.save({ repeats, failures });
    }
  }
  return { repeats, failures };
}

function figureWords({ perSecond, p50Us }: Measurement): string {
  if (p50Us !== undefined) return `p50 ${timeWords(p50Us * 1e3)}`;
  return `${millions(perSecond)} a second`;
}

/** One line for each scenario that failed, with its first reason. */
export function failureLines(failures: readonly Failure[]): string[] {
  const timesOf = (wanted: string) => failures.filter(({ name }) => name === wanted).length;
  const firstOnes = failures.filter(
    ({ name }, at) => failures.findIndex((other) => other.name === name) === at,
  );
  return firstOnes.map(({ name, repeat, reason }) => {
    const also = timesOf(name) > 1 ? `, ${timesOf(name)} times in all` : "";
    return `failed: ${name}: ${reason} (repeat ${repeat}${also})`;
  });
}

/** Failures that are no peer's: of these nothing may fail. */
export function ownFailures(failures: readonly Failure[]): Failure[] {
  return failures.filter(({ relay }) => !isPeer(relay));
}
