import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { EventEmitter } from "node:events";
import { readdirSync } from "node:fs";
import type { Worker } from "node:worker_threads";
import { ACCEPT_PAUSE_MS, THREAD_START_FDS } from "../../../src/broker/limits.ts";
import { StartSignal } from "../../../src/broker/start-signal.ts";
import { ThreadFds } from "../../../src/broker/thread-fds.ts";
import { getOpenFilesLimit } from "../../../src/ffi/resource-limits.ts";
import { targetOf } from "../ffi/fd-table.ts";

const { soft } = getOpenFilesLimit();

let now: number;
/** As in a process whose limit was lowered since. */
let threads: ThreadFds;

beforeEach(() => {
  now = 0;
  threads = new ThreadFds(soft + 1, () => now);
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

/** Those of the kind that is kept: threads of other tests, and of the runtime, open and close others. */
function countFds(): number {
  const isSocket = (fd: string) => targetOf(fd).startsWith("socket:");
  return readdirSync("/proc/self/fd").filter(isSocket).length;
}

describe("ThreadFds.start()", () => {
  test("starts a thread without fds of its own where there is room", () => {
    const { worker, signal } = running();
    using here = new ThreadHere();
    const atRest = countFds();
    const make = () => {
      expect(countFds()).toBe(atRest);
      return worker;
    };
    expect(here.threads.start({ make, signal })).toBe(worker);
  });

  test("frees THREAD_START_FDS for it where there may be none, until it runs", () => {
    const { worker, signal } = running();
    const atRest = countFds();
    const make = () => {
      expect(countFds()).toBe(atRest - THREAD_START_FDS);
      return worker;
    };
    expect(threads.start({ make, signal })).toBe(worker);
    expect(countFds()).toBe(atRest);
    worker.emit("exit", 0);
    expect(countFds()).toBe(atRest);
  });

  test("leaves them to a thread that opens files, and starts no other, until it has ended", () => {
    const { worker, signal } = running();
    const atRest = countFds();
    threads.start({ make: () => worker, signal, opensFiles: true });
    expect(countFds()).toBe(atRest - THREAD_START_FDS);
    expect([threads.start({ make: () => worker, signal }), threads.deadline()]).toEqual([
      undefined,
      Number.POSITIVE_INFINITY,
    ]);
    worker.emit("exit", 0);
    expect(countFds()).toBe(atRest);
    expect(threads.start({ make: () => worker, signal })).toBe(worker);
  });

  test("takes them back where no thread can be made", () => {
    const { signal } = running();
    const atRest = countFds();
    expect(threads.start({ make: () => undefined, signal })).toBeUndefined();
    const fail = () => {
      throw new Error("no memory");
    };
    expect(() => threads.start({ make: fail, signal })).toThrow("no memory");
    expect(countFds()).toBe(atRest);
  });

  test("keeps none of them after close(), whenever a thread ends", () => {
    const { worker, signal } = running();
    const before = countFds() - THREAD_START_FDS;
    threads.start({ make: () => worker, signal, opensFiles: true });
    threads.close();
    worker.emit("exit", 0);
    now += ACCEPT_PAUSE_MS;
    threads.refillIfDue();
    expect(countFds()).toBe(before);
  });
});

/** One whose process may open as many files as ever. */
class ThreadHere implements Disposable {
  readonly threads = new ThreadFds(soft, () => now);

  [Symbol.dispose](): void {
    this.threads.close();
  }
}
