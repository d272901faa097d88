/** Round-trip times: gathered, sorted, reported. */

import { loadSamples, saveSamples } from "./kept-samples.ts";
import { isTold, QUANTILE_SHARES, quantile } from "./quantiles.ts";
import type { LatencyReport, WorkOrder } from "./work-order.ts";

/** Samples kept at most; a run is over before. */
const SAMPLES_MAX = 1 << 20;

/** Times of one pinging process, and of those before it where the order says so. */
export class RoundTrips {
  readonly #samples = new Float64Array(SAMPLES_MAX);
  readonly #warmAt: number;
  readonly #endsAt: number;
  readonly #roundsMax: number;
  readonly #keptIn: string | undefined;
  readonly #isCounted: boolean;
  #rounds = 0;
  #count: number;
  #sentAt = 0;

  constructor(order: WorkOrder) {
    this.#warmAt = performance.now() + order.warmUpMs;
    this.#endsAt = performance.now() + order.durationMs;
    this.#keptIn = order.samplesPath;
    this.#count = this.#keptIn === undefined ? 0 : loadSamples(this.#keptIn, this.#samples);
    this.#isCounted = order.messagesMax < SAMPLES_MAX;
    this.#roundsMax = Math.min(order.messagesMax, SAMPLES_MAX - this.#count);
  }

  /** A ping leaves. */
  begin(): void {
    this.#sentAt = performance.now();
  }

  /**
   * Its answer is here.
   * @returns false when there have been enough
   */
  end(): boolean {
    const now = performance.now();
    this.#rounds += 1;
    if (now >= this.#warmAt || this.#isCounted) {
      this.#samples[this.#count] = now - this.#sentAt;
      this.#count += 1;
    }
    return now < this.#endsAt && this.#rounds < this.#roundsMax;
  }

  /** Percentiles of the rounds after the warm-up, those that isTold(). Call it once, at the end. */
  report(): LatencyReport {
    const sorted = this.#samples.subarray(0, this.#count).sort();
    if (this.#keptIn !== undefined) saveSamples(this.#keptIn, sorted);
    const at = (share: number) => roundToNs(quantile(sorted, share) * 1000);
    const isKnown = (share: number) => isTold(sorted.length, share);
    return {
      type: "latency",
      rounds: this.#rounds,
      p50Us: at(0.5),
      ...(isKnown(0.99) && { p99Us: at(0.99) }),
      ...(isKnown(0.999) && { p999Us: at(0.999) }),
      quantilesUs: QUANTILE_SHARES.filter(isKnown).map(at),
    };
  }
}

/** The clock knows no less, and reports stay short. */
function roundToNs(us: number): number {
  return Math.round(us * 1000) / 1000;
}
