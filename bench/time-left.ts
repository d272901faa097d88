/** Guesses how long the rest of a run takes, from what its scenarios have taken so far. Pure. */

const MS_PER_MINUTE = 60_000;

/** Scenarios by name, with milliseconds. */
export class TimeLeft {
  readonly #last = new Map<string, number>();
  #totalMs = 0;
  #count = 0;

  /** A scenario has been measured. */
  note(name: string, ms: number): void {
    this.#last.set(name, ms);
    this.#totalMs += ms;
    this.#count += 1;
  }

  /**
   * What is to come, each as long as last time, and those that are new as long as the average.
   * @returns milliseconds; undefined where nothing is known yet
   */
  guessMs(ahead: readonly string[]): number | undefined {
    if (this.#count === 0) return undefined;
    const average = this.#totalMs / this.#count;
    return ahead.reduce((sum, name) => sum + (this.#last.get(name) ?? average), 0);
  }
}

/** As people say it. */
export function leftWords(ms: number | undefined): string {
  if (ms === undefined) return "";
  if (ms < MS_PER_MINUTE) return "less than a minute left";
  return `about ${Math.round(ms / MS_PER_MINUTE)} min left`;
}
