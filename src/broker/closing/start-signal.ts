/** One word of shared memory by which a thread says that it runs. Says nothing of its end. */

/** One end; which one is decided by the methods that are called. */
export class StartSignal {
  /** To be handed to the thread. */
  readonly memory: SharedArrayBuffer;
  readonly #word: Int32Array;

  /** @param memory of the other end; undefined for a new signal */
  constructor(memory = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#word = new Int32Array(memory);
  }

  /** The thread: it has all the files open, or read, that starting it takes. */
  give(): void {
    Atomics.store(this.#word, 0, 1);
    Atomics.notify(this.#word, 0);
  }

  /** Whether the thread runs. */
  get isGiven(): boolean {
    return Atomics.load(this.#word, 0) === 1;
  }

  /**
   * Stops the calling thread until the other one runs.
   * @param milliseconds at most
   * @returns whether it does
   */
  wait(milliseconds: number): boolean {
    Atomics.wait(this.#word, 0, 0, milliseconds);
    return this.isGiven;
  }
}
