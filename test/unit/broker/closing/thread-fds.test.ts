import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { EventEmitter } from "node:events";
import type { Worker } from "node:worker_threads";
import { ACCEPT_PAUSE_MS } from "../../../../src/broker/arrivals/limits.ts";
import { THREAD_START_FDS } from "../../../../src/broker/closing/limits.ts";
import { StartSignal } from "../../../../src/broker/closing/start-signal.ts";
import { ThreadFds } from "../../../../src/broker/closing/thread-fds.ts";
import { getOpenFilesLimit } from "../../../../src/ffi/resource-limits.ts";

let now: number;
/** As in a process whose limit was lowered since. */
let threads: ThreadFds;

beforeEach(() => {
  now = 0;
  threads = new ThreadFds(getOpenFilesLimit().soft + 1, () => now);
});

afterEach(() => {
  threads.close();
});

/** A thread that runs, for all that is asked of it. */
function running(): { worker: Worker; signal: StartSignal } {
  const signal = new StartSignal();
  signal.give();
  return { worker: new EventEmitter() as unknown as Worker, signal };
}

describe("ThreadFds.start()", () => {
  test("starts a thread without the fds that it keeps where there is room", () => {
    const { worker, signal } = running();
    using here = new ThreadsHere();
    const make = () => {
      expect(here.threads.kept).toBe(THREAD_START_FDS);
      return worker;
    };
    expect(here.threads.start({ make, signal })).toBe(worker);
  });

  test("closes them for it where there may be none, until it runs", () => {
    const { worker, signal } = running();
    const make = () => {
      expect(threads.kept).toBe(0);
      return worker;
    };
    expect(threads.start({ make, signal })).toBe(worker);
    expect(threads.kept).toBe(THREAD_START_FDS);
    worker.emit("exit", 0);
    expect(threads.kept).toBe(THREAD_START_FDS);
  });

  test("leaves them to a thread that opens files, and starts no other, until it has ended", () => {
    const { worker, signal } = running();
    threads.start({ make: () => worker, signal, opensFiles: true });
    expect([threads.kept, threads.deadline()]).toEqual([0, Number.POSITIVE_INFINITY]);
    expect(threads.start({ make: () => worker, signal })).toBeUndefined();
    worker.emit("exit", 0);
    expect(threads.kept).toBe(THREAD_START_FDS);
    expect(threads.start({ make: () => worker, signal })).toBe(worker);
  });

  test("takes them back from a thread that was not up in time, once it is", () => {
    const { worker } = running();
    const signal = new StartSignal();
    expect(threads.start({ make: () => worker, signal })).toBe(worker);
    threads.refillIfDue(false);
    expect([threads.kept, threads.deadline()]).toEqual([0, ACCEPT_PAUSE_MS]);
    signal.give();
    now += ACCEPT_PAUSE_MS;
    threads.refillIfDue(false);
    expect([threads.kept, threads.deadline()]).toEqual([
      THREAD_START_FDS,
      Number.POSITIVE_INFINITY,
    ]);
  });

  test("takes them back where no thread can be made", () => {
    const { signal } = running();
    expect(threads.start({ make: () => undefined, signal })).toBeUndefined();
    const fail = () => {
      throw new Error("no memory");
    };
    expect(() => threads.start({ make: fail, signal })).toThrow("no memory");
    expect(threads.kept).toBe(THREAD_START_FDS);
  });

  test("keeps none of them after close(), whenever a thread ends", () => {
    const { worker, signal } = running();
    threads.start({ make: () => worker, signal, opensFiles: true });
    threads.close();
    worker.emit("exit", 0);
    now += ACCEPT_PAUSE_MS;
    threads.refillIfDue(false);
    expect(threads.kept).toBe(0);
  });
});

/** One whose process may open as many files as ever. */
class ThreadsHere implements Disposable {
  readonly threads = new ThreadFds(getOpenFilesLimit().soft, () => now);

  [Symbol.dispose](): void {
    this.threads.close();
  }
}
