/** Reads what BUN_JSC_logGC=1 makes a process print. Pure. */

/** What the log says. */
export interface CollectorLog {
  /** Ended collections. */
  readonly collections: number;
  /** Milliseconds that the program stood still at a time; a collection may have several. */
  readonly pausesMs: readonly number[];
}

/** Takes a whole log. */
export function readCollectorLog(log: string): CollectorLog {
  const pausesMs = [...log.matchAll(/\bp=([\d.]+)ms/g)].map(([, ms]) => Number(ms));
  return { collections: log.split("GC END!").length - 1, pausesMs };
}
