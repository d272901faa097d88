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
  /** Microseconds of one round trip; where there are any. */
  readonly p50Us?: number;
  readonly p99Us?: number;
  readonly p999Us?: number;
  /** The same at each of QUANTILE_SHARES. */
  readonly quantilesUs?: readonly number[];
  /** CPU time of the relay for one delivery or round trip, in nanoseconds. */
  readonly relayCpuNs: number;
  readonly relayPeakRssMib: number;
  /** In the same order in each run of a scenario. */
  readonly extra?: readonly ExtraFigure[];
}
