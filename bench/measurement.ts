/** What one run of one scenario gave. */

/** A figure that only some scenarios have. */
export interface ExtraFigure {
  readonly label: string;
  readonly value: number;
  readonly unit: "us" | "ms" | "times" | "KiB" | "MiB" | "%" | "a second" | "in all";
}

/** The figures of one run. */
export interface Measurement {
  readonly name: string;
  /** Messages received by all subscribers a second; round trips; topics opened. */
  readonly perSecond: number;
  /** The same in all, the warm-up included. */
  readonly checked: number;
  /** Microseconds of one round trip; where there are any, and isTold() of quantiles.ts. */
  readonly p50Us?: number;
  readonly p99Us?: number;
  readonly p999Us?: number;
  /** The same at QUANTILE_SHARES, as far as isTold(). */
  readonly quantilesUs?: readonly number[];
  /** CPU time of the relay for one delivery or round trip, in nanoseconds. */
  readonly relayCpuNs: number;
  readonly relayPeakRssMib: number;
  /** The run was over before the warm-up, so it counts from its first message on. */
  readonly isCold?: boolean;
  /** In the same order in each run of a scenario. */
  readonly extra?: readonly ExtraFigure[];
}
