/**
 * Packets that a lost connection did not take, as messages again: their topic ids were those of
 * that connection, so the packets themselves are worth nothing to the next one.
 */

import type { OwnedFd } from "../ffi/owned-fd.ts";
import type { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { flagsOf, opcodeOf, paddedBytes } from "../protocol/frame.ts";
import { FRAME_HEADER_BYTES } from "../protocol/limits.ts";
import { OPCODE } from "../protocol/opcodes.ts";

/** One message. */
export interface UnsentMessage {
  /** MESSAGE or RETAIN. */
  readonly opcode: number;
  /** As the lost connection had it. */
  readonly topicId: number;
  /** Encoding, and FLAG_LARGE. */
  readonly flags: number;
  /** With its prefix, if the opcode has one. */
  readonly body: Uint8Array;
  readonly fds: readonly OwnedFd[];
  /** Bytes of the large body behind the first of them; 0 for none. */
  readonly memoryBytes: number;
}

const NO_FILES: Pick<UnsentMessage, "fds" | "memoryBytes"> = { fds: [], memoryBytes: 0 };

/**
 * Takes a packet of our own apart. Frames that are no messages are left out.
 * @param packet borrowed; bodies are copied
 * @param files those of the one message in it, which becomes their owner. Where that is none, they
 *   are closed: an fd is never without an owner
 */
export function unpackMessages(
  packet: PinnedBuffer,
  packetBytes: number,
  files: Pick<UnsentMessage, "fds" | "memoryBytes"> = NO_FILES,
): UnsentMessage[] {
  const messages: UnsentMessage[] = [];
  forEachMessage(packet, packetBytes, (at, frameBytes) => {
    const word = at >>> 2;
    messages.push({
      opcode: opcodeOf(packet.words[word + 1] as number),
      topicId: packet.words[word + 2] as number,
      flags: flagsOf(packet.words[word + 1] as number),
      body: packet.bytes.slice(at + FRAME_HEADER_BYTES, at + frameBytes),
      ...files,
    });
  });
  if (messages.length === 0) for (const fd of files.fds) fd.close();
  return messages;
}

/** How many messages there are in a packet of our own. */
export function countMessages(packet: PinnedBuffer, packetBytes: number): number {
  let count = 0;
  forEachMessage(packet, packetBytes, () => {
    count += 1;
  });
  return count;
}

/** Whether frames of this opcode are published on a topic. */
export function isPublished(opcode: number): boolean {
  return opcode === OPCODE.MESSAGE || opcode === OPCODE.RETAIN;
}

function forEachMessage(
  { words }: PinnedBuffer,
  packetBytes: number,
  visit: (at: number, frameBytes: number) => void,
): void {
  for (let at = 0; at < packetBytes; ) {
    const frameBytes = words[at >>> 2] as number;
    if (isPublished(opcodeOf(words[(at >>> 2) + 1] as number))) visit(at, frameBytes);
    at += paddedBytes(frameBytes);
  }
}
