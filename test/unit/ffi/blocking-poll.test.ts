import { expect, test } from "bun:test";
import { AssertionError } from "../../../src/assert.ts";
import { waitReadable } from "../../../src/ffi/blocking-poll.ts";
import { closeFd } from "../../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import { sendPacket } from "../../../src/ffi/seqpacket.ts";
import { openHighFd } from "./fd-table.ts";
import { SocketPair } from "./socket-pair.ts";

test("waitReadable() is false without data, true with a record and true at the end", () => {
  using pair = new SocketPair();
  expect(waitReadable(pair.far.number, 0)).toBe(false);
  expect(waitReadable(pair.far.number, 1)).toBe(false);
  sendPacket(pair.near.number, new PinnedBuffer(8), 0, 8);
  expect(waitReadable(pair.far.number, -1)).toBe(true);
  expect(waitReadable(pair.near.number, 0)).toBe(false);
  pair.far.close();
  expect(waitReadable(pair.near.number, -1)).toBe(true);
});

test("waitReadable() throws EBADF for an fd that is not open", () => {
  const fd = openHighFd();
  closeFd(fd);
  expect(() => waitReadable(fd, 0)).toThrow(`Cannot poll fd ${fd}: EBADF`);
});

test("waitReadable() refuses a timeout that is no number of milliseconds", () => {
  using pair = new SocketPair();
  expect(() => waitReadable(pair.far.number, Number.NaN)).toThrow(AssertionError);
});
