/**
 * A thread for closing fds that may hang, seen from the broker's thread. What it runs is
 * closing-worker.ts.
 */

import { Worker } from "node:worker_threads";
import { ClosingRing } from "./closing-ring.ts";

/** In the published package both files are bundles beside each other. */
const WORKER_NAME = import.meta.url.endsWith(".ts") ? "closing-worker.ts" : "closing-worker.js";

/** Closes fds one after the other, away from the broker's thread. */
export interface ClosingLane {
  /** Fds pushed and not closed yet. */
  readonly open: number;
  /** Hands an fd over, where `open` is below CLOSING_RING_FDS. Never waits. */
  push(fd: number): void;
  /** Ends the lane; one that still closes is left to itself. */
  end(): void;
}

/**
 * A lane that is a Worker. Making one takes 0.2 to 3 ms here, and 20 ms there; the first costs 9 MiB,
 * each further one 4.5 MiB (measured). It does not keep the process alive.
 */
export class ClosingThread implements ClosingLane {
  readonly #ring = new ClosingRing();
  readonly #worker: Worker;

  constructor() {
    const url = new URL(`./${WORKER_NAME}`, import.meta.url);
    this.#worker = new Worker(url, { workerData: this.#ring.memory });
    this.#worker.unref();
  }

  get open(): number {
    return this.#ring.open;
  }

  push(fd: number): void {
    this.#ring.push(fd);
  }

  end(): void {
    if (this.open === 0) void this.#worker.terminate();
  }
}
