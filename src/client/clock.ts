/** Time and timers of the client library, so that a test can have its own. */

/** Time and timers. */
export interface Clock {
  /** Milliseconds from any start, with a fraction. */
  now(): number;
  /** Calls back once after so many milliseconds. @returns how to prevent that */
  startTimer(callback: () => void, ms: number): () => void;
}

/** The machine's. Its timers keep the program alive: who waits for a broker has work to do. */
export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  startTimer(callback, ms) {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};
