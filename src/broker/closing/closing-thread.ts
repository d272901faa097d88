/**
 * A thread for closing fds that may hang, seen from the broker's thread. What it runs is
 * closing-worker.ts.
 */

import { Worker } from "node:worker_threads";
import { assert } from "../../assert.ts";
import { ClosingRing } from "./closing-ring.ts";
import { StartSignal } from "./start-signal.ts";
import type { ThreadStarter } from "./thread-fds.ts";

/** In the published package both files are bundles beside each other. */
const WORKER_NAME = import.meta.url.endsWith(".ts") ? "closing-worker.ts" : "closing-worker.js";

/** What the thread is handed. */
export interface ClosingThreadData {
  /** Of a ClosingRing. */
  readonly ring: SharedArrayBuffer;
  /** Of a StartSignal. */
  readonly signal: SharedArrayBuffer;
}

/** Closes fds one after the other, away from the broker's thread. */
export interface ClosingLane {
  /** Fds pushed and not closed yet. */
  readonly open: number;
  /** It ended before it closed any, and closes none. */
  readonly hasFailed: boolean;
  /** Hands an fd over, where `open` is below CLOSING_RING_FDS. Never waits. */
  push(fd: number): void;
  /** Takes back all that was pushed, of one that has failed. */
  takeBack(): number[];
  /** Ends the lane; one that still closes is left to itself. */
  end(): void;
}

/**
 * A lane that is a Worker. Making one takes 0.2 to 3 ms here, and 20 ms there; the first costs 9 MiB,
 * each further one 4.5 MiB (measured). It does not keep the process alive.
 */
export class ClosingThread implements ClosingLane {
  readonly #ring: ClosingRing;
  readonly #worker: Worker;
  #hasFailed = false;

  /**
   * @param worker closing-worker.ts
   * @param ring what it reads
   * @param signal what it gives
   */
  private constructor(worker: Worker, ring: ClosingRing, signal: StartSignal) {
    this.#worker = worker;
    this.#ring = ring;
    worker.unref();
    worker.on("error", (error: Error) => {
      // It opens nothing once it runs, and what it was closing may or may not be closed.
      if (signal.isGiven) throw error;
      this.#hasFailed = true;
    });
  }

  /** Starts a thread. @returns undefined where there is none to be had now */
  static open(threads: ThreadStarter): ClosingThread | undefined {
    const ring = new ClosingRing();
    const signal = new StartSignal();
    const make = () => makeWorker({ ring: ring.memory, signal: signal.memory });
    const worker = threads.start({ make, signal });
    return worker && new ClosingThread(worker, ring, signal);
  }

  get open(): number {
    return this.#ring.open;
  }

  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  push(fd: number): void {
    this.#ring.push(fd);
  }

  takeBack(): number[] {
    assert(this.#hasFailed, "only of one that closes nothing");
    return this.#ring.takeBack();
  }

  end(): void {
    if (this.open === 0) void this.#worker.terminate();
  }
}

/** @returns undefined where the system has no thread or memory left */
function makeWorker(workerData: ClosingThreadData): Worker | undefined {
  try {
    return new Worker(new URL(`./${WORKER_NAME}`, import.meta.url), { workerData });
  } catch {
    return undefined;
  }
}
