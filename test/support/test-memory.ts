/** Memory for the bodies of large messages, as a client would make it, or as it should not. */

import { addSeals, createMemfd, SEALS_FOR_GOOD, writeMemory } from "../../src/ffi/memfd.ts";
import { OwnedFd } from "../../src/ffi/owned-fd.ts";
import { LARGE_SIZE_BYTES } from "../../src/protocol/limits.ts";
import { FLAG_LARGE, OPCODE } from "../../src/protocol/opcodes.ts";
import { packetOf } from "./raw-client.ts";

/** Bytes that tell bodies apart: they count up from `first`, modulo a prime. */
export function countingBytes(byteLength: number, first = 0): Uint8Array {
  const bytes = new Uint8Array(byteLength);
  for (let index = 0; index < byteLength; index += 1) bytes[index] = (first + index) % 251;
  return bytes;
}

/**
 * Memory with these bytes.
 * @param seals all that a body needs, unless told otherwise
 * @returns the caller's
 */
export function memoryOf(bytes: Uint8Array, seals: number = SEALS_FOR_GOOD): OwnedFd {
  const memory = OwnedFd.adopt(createMemfd("seqbus-test-body"));
  writeMemory(memory.number, bytes);
  addSeals(memory.number, seals);
  return memory;
}

/** The packet of a large message. @param fdCount its body included */
export function largePacket(topicId: number, byteLength: number | bigint, fdCount = 1): Uint8Array {
  const size = new Uint8Array(LARGE_SIZE_BYTES);
  new DataView(size.buffer).setBigUint64(0, BigInt(byteLength), true);
  return packetOf((writer) => writer.append(OPCODE.MESSAGE, FLAG_LARGE, fdCount, topicId, 0, size));
}
