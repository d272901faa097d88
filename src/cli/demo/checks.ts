/** The checks of the demo: nothing that it prints is taken on trust. */

import { isDeepStrictEqual } from "node:util";

/** A step of the demo did not do what it should. Ends the demo, and is told in one line. */
export class FailedCheck extends Error {
  override readonly name = "FailedCheck";
}

/** Counts what held, and ends the demo at the first thing that did not. */
export class Checks {
  #passed = 0;

  /** How many checks held. */
  get passed(): number {
    return this.#passed;
  }

  /**
   * Compares two values deeply.
   * @param what names the value, for the message
   * @throws {FailedCheck} where they differ
   */
  equal(what: string, actual: unknown, wanted: unknown): void {
    if (!isDeepStrictEqual(actual, wanted)) {
      const values = `is ${JSON.stringify(actual)}, wanted ${JSON.stringify(wanted)}`;
      throw new FailedCheck(`The demo failed: ${what} ${values}`);
    }
    this.#passed += 1;
  }
}
