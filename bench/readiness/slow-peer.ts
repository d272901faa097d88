/**
 * A peer on an inherited SEQPACKET fd that waits a moment before it answers each record, so that
 * whoever asked has really gone to sleep by then. Ends when the other side closes.
 */

import { PacketReceiver } from "../../src/ffi/ancillary.ts";
import { waitReadable } from "../../src/ffi/blocking-poll.ts";
import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { sendPacket } from "../../src/ffi/seqpacket.ts";
import { WOULD_BLOCK } from "../../src/ffi/syscall-result.ts";
import { PEER_FD, RECORD_BYTES } from "./waiting-ways.ts";

/** Long enough for the asking side to reach the kernel; the kernel adds its timer slack, 50 us. */
const PAUSE_MS = 0.03;

const receiver = new PacketReceiver(new PinnedBuffer(RECORD_BYTES));
const sleeper = new Int32Array(new SharedArrayBuffer(4));
for (;;) {
  const bytes = receiver.receive(PEER_FD);
  if (bytes === WOULD_BLOCK) waitReadable(PEER_FD, -1);
  else if (bytes < 0) break;
  else {
    Atomics.wait(sleeper, 0, 0, PAUSE_MS);
    sendPacket(PEER_FD, receiver.buffer, 0, RECORD_BYTES);
  }
}
