/**
 * Starts threads of the runtime, so that a process that may open no more files does not end of it: the
 * runtime ends the process where it cannot open the two fds of a thread's event loop, and nothing
 * catches that. What a thread is for is its owner's.
 *
 * Usually there are fds, since the broker never gives its last ones to clients (FDS_RESERVED). There
 * may be none where its limit was lowered from outside, or the machine has no more. Then some that
 * were kept for this are closed, and the broker's own thread waits for the other one to come up: it
 * would have to be kept from opening anything else meanwhile, in all its parts.
 */

import type { Worker } from "node:worker_threads";
import { getOpenFilesLimit } from "../../ffi/resource-limits.ts";
import { ACCEPT_PAUSE_MS } from "../arrivals/limits.ts";
import { isDue, NEVER } from "../deadlines.ts";
import { SpareFds } from "../fds/spare-fds.ts";
import {
  THREAD_START_FDS,
  THREAD_START_FDS_MIN,
  THREAD_START_ROOM_FDS,
  THREAD_START_WAIT_MS,
} from "./limits.ts";
import type { StartSignal } from "./start-signal.ts";

/** A thread that is to be started. */
export interface ThreadStart {
  /** Makes the thread; undefined where the system has none left. */
  readonly make: () => Worker | undefined;
  /** Given by the thread. */
  readonly signal: StartSignal;
  /** The thread opens files as long as it runs: fds that were lent are taken back when it has ended. */
  readonly opensFiles?: boolean;
}

/** Starts threads. */
export type ThreadStarter = Pick<ThreadFds, "start">;

/** Starts the threads of one broker. */
export class ThreadFds {
  readonly #openFilesMax: number;
  readonly #now: () => number;
  readonly #spare = new SpareFds(THREAD_START_FDS);
  /** A thread has them, or may still need them. */
  #areLent = false;
  /** The thread that has them, and was not up in time; they are taken back when it is. */
  #awaited: StartSignal | undefined;
  #isClosed = false;
  #refillAt = 0;

  /**
   * @param openFilesMax RLIMIT_NOFILE as it was when the broker started
   * @param now milliseconds, monotonic
   */
  constructor(openFilesMax: number, now: () => number) {
    this.#openFilesMax = openFilesMax;
    this.#now = now;
  }

  /** How many fds are kept for threads now. */
  get kept(): number {
    return this.#spare.count;
  }

  /**
   * Starts a thread. Where few fds are left this waits for it, a tenth of a second on a busy machine.
   * It may still fail to load, for want of fds: its "error" event tells.
   * @returns undefined where there is no room for a thread now
   * @throws what `make` throws
   */
  start({ make, signal, opensFiles = false }: ThreadStart): Worker | undefined {
    if (this.#hasRoom()) return make();
    this.#refill();
    if (this.#areLent || this.#spare.count < THREAD_START_FDS_MIN) return undefined;
    this.#areLent = true;
    this.#spare.close();
    let worker: Worker | undefined;
    let isOver = true;
    try {
      worker = make();
      if (worker === undefined) return undefined;
      worker.once("exit", this.#takeBack);
      const runs = signal.wait(THREAD_START_WAIT_MS);
      if (!runs && !opensFiles) this.#awaited = signal;
      isOver = runs && !opensFiles;
      return worker;
    } finally {
      if (isOver) {
        worker?.off("exit", this.#takeBack);
        this.#takeBack();
      }
    }
  }

  /** When refillIfDue() has something to do; Infinity where none is missing. */
  deadline(): number {
    const isOfUse = !this.#areLent || this.#awaited !== undefined;
    return this.#spare.areShort && isOfUse ? this.#refillAt : NEVER;
  }

  /**
   * Opens fds that are missing, now and then.
   * @param isRoomWanted administrators come first: their spare fds are short, too
   */
  refillIfDue(isRoomWanted: boolean): void {
    if (!isDue(this.deadline(), this.#now)) return;
    if (this.#awaited?.isGiven === true) this.#takeBack();
    else if (!isRoomWanted) this.#refill();
    this.#refillAt = this.#now() + ACCEPT_PAUSE_MS;
  }

  /** Closes those that are kept; nothing is started any more. */
  close(): void {
    this.#isClosed = true;
    this.#spare.close();
  }

  /** Whether so many fds can be opened that nothing has to wait for the thread. */
  #hasRoom(): boolean {
    // Below a limit that was lowered, what clients send may fill the table at any moment.
    if (getOpenFilesLimit().soft < this.#openFilesMax) return false;
    const room = new SpareFds(THREAD_START_ROOM_FDS);
    const isThere = !room.areShort;
    room.close();
    return isThere;
  }

  #refill(): void {
    if (!this.#areLent && !this.#isClosed) this.#spare.refill();
  }

  readonly #takeBack = (): void => {
    this.#areLent = false;
    this.#awaited = undefined;
    this.#refill();
  };
}
