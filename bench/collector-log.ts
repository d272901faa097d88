/** Reads what BUN_JSC_logGC=1 makes a process print. Pure. */

/** What the log says. */
export interface CollectorPauses {
  /** Ended collections. */
  readonly collections: number;
  /** Milliseconds that the program stood still at a time, at most. */
  readonly ms: number;
}

/** The longest of all pauses; a collection may have several. */
export function longestPauseMs(log: string): CollectorPauses {
  const pauses = [...log.matchAll(/\bp=([\d.]+)ms/g)].map(([, ms]) => Number(ms));
  const collections = log.split("GC END!").length - 1;
  return { collections, ms: pauses.reduce((one, other) => Math.max(one, other), 0) };
}
