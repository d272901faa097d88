/** What clients had left to say when they were closed, on real sockets. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  DISCARDED_FDS_PER_STEP,
  DISCARDED_PACKETS_PER_STEP,
} from "../../../../src/broker/reading/limits.ts";
import { PacketSource } from "../../../../src/broker/reading/packet-source.ts";
import { sendPacketWithFds } from "../../../../src/ffi/ancillary.ts";
import { libc } from "../../../../src/ffi/libc.ts";
import { closeFd } from "../../../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../../../src/ffi/pinned-buffer.ts";
import { openSeqpacketPair, sendPacket, shutdownBoth } from "../../../../src/ffi/seqpacket.ts";
import { MESSAGE_FDS_MAX } from "../../../../src/protocol/limits.ts";
import { TestFiles } from "../../../support/test-files.ts";

const UID = 7;
const BYTES = 8;

const buffer = new PinnedBuffer(BYTES);
let client: number;
let ours: number;
let fdsClosed: number;
let isFull: boolean;
let source: PacketSource;

beforeEach(() => {
  [ours, client] = openSeqpacketPair();
  fdsClosed = 0;
  isFull = false;
  const closeOne = (fd: number) => {
    closeFd(fd);
    fdsClosed += 1;
  };
  source = new PacketSource({
    closer: { isFull: () => isFull },
    files: { closeFd: closeOne },
    budget: { roomToReserve: MESSAGE_FDS_MAX },
    verifiesPackets: false,
  });
});

afterEach(() => {
  for (const fd of [ours, client]) closeFd(fd);
});

/** Shuts the socket down and throws all away. @returns what each step came to */
function discardAll(): string[] {
  shutdownBoth(ours);
  const steps: string[] = [];
  do steps.push(source.discard(ours, UID));
  while (steps.at(-1) === "NOT_EMPTY");
  return steps;
}

describe("PacketSource.discard()", () => {
  test("takes so many packets by a step", () => {
    const count = 2 * DISCARDED_PACKETS_PER_STEP + 1;
    for (let sent = 0; sent < count; sent += 1) {
      expect(sendPacket(client, buffer, 0, BYTES)).toBe(BYTES);
    }
    expect(discardAll()).toEqual(["NOT_EMPTY", "NOT_EMPTY", "EMPTY"]);
  });

  test("takes so many fds by a step, and closes them", () => {
    using file = new TestFiles(["a"]);
    const fds = new Array<number>(MESSAGE_FDS_MAX).fill(file.fds[0] ?? -1);
    const count = 4;
    for (let sent = 0; sent < count; sent += 1) {
      expect(sendPacketWithFds(client, buffer, 0, BYTES, fds)).toBe(BYTES);
    }
    shutdownBoth(ours);
    expect(source.discard(ours, UID)).toBe("NOT_EMPTY");
    expect(fdsClosed).toBeGreaterThanOrEqual(DISCARDED_FDS_PER_STEP);
    expect(fdsClosed).toBeLessThan(DISCARDED_FDS_PER_STEP + MESSAGE_FDS_MAX);
    discardAll();
    expect(fdsClosed).toBe(count * MESSAGE_FDS_MAX);
  });

  test("does not take an empty packet for the end: fds can be behind it", () => {
    using file = new TestFiles(["a"]);
    for (let sent = 0; sent < 2; sent += 1) expect(libc.send(client, null, 0, 0)).toBe(0);
    sendPacketWithFds(client, buffer, 0, BYTES, file.fds);
    expect(discardAll()).toEqual(["EMPTY"]);
    expect(fdsClosed).toBe(1);
  });

  test("takes nothing while its sender has too many fds that are not closed yet", () => {
    sendPacket(client, buffer, 0, BYTES);
    isFull = true;
    expect(discardAll()).toEqual(["NOT_TAKEN"]);
    isFull = false;
    expect(discardAll()).toEqual(["EMPTY"]);
  });
});
