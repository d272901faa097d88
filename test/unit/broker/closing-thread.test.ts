import { expect, test } from "bun:test";
import { readlinkSync } from "node:fs";
import { assert } from "../../../src/assert.ts";
import { ClosingThread } from "../../../src/broker/closing-thread.ts";
import { CLOSING_RING_FDS } from "../../../src/broker/limits.ts";
import { closeFd, duplicateFd } from "../../../src/ffi/owned-fd.ts";
import { openSeqpacketPair } from "../../../src/ffi/seqpacket.ts";
import { eventually } from "../../support/eventually.ts";

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

function targetOf(fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  }
}
