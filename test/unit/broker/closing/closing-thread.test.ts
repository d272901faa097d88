import { expect, test } from "bun:test";
import { readlinkSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { assert } from "../../../../src/assert.ts";
import { ClosingThread } from "../../../../src/broker/closing/closing-thread.ts";
import { CLOSING_RING_FDS } from "../../../../src/broker/closing/limits.ts";
import { closeFd, duplicateFd } from "../../../../src/ffi/owned-fd.ts";
import { openSeqpacketPair } from "../../../../src/ffi/seqpacket.ts";
import { eventually } from "../../../support/eventually.ts";

test("ClosingThread closes all that it is given, more than fit its ring at a time", async () => {
  const thread = ClosingThread.open({ start: ({ make }) => make() });
  assert(thread !== undefined, "there is room for a thread");
  const [left, right] = openSeqpacketPair();
  const fds = Array.from({ length: 3 * CLOSING_RING_FDS }, () => duplicateFd(left));
  for (const fd of fds) {
    await eventually(() => thread.open < CLOSING_RING_FDS, "the ring has room");
    thread.push(fd);
  }
  await eventually(() => thread.open === 0, "all of them are closed");
  // The numbers may be somebody else's by now.
  expect(fds.filter((fd) => targetOf(fd) === targetOf(left))).toEqual([]);
  thread.end();
  closeFd(left);
  closeFd(right);
});

test("ClosingThread gives back what it was handed where it fails to load", async () => {
  const start = () => new Worker("throw new Error('no fd is left')", { eval: true });
  const thread = ClosingThread.open({ start });
  assert(thread !== undefined, "a thread was made");
  thread.push(1_000_001);
  thread.push(1_000_002);
  await eventually(() => thread.hasFailed, "it has failed");
  expect(thread.takeBack()).toEqual([1_000_001, 1_000_002]);
  expect(thread.open).toBe(0);
});

test("ClosingThread.open() returns undefined where no thread can be started", () => {
  expect(ClosingThread.open({ start: () => undefined })).toBeUndefined();
});

function targetOf(fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  }
}
