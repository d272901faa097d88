/** The record that goes with sealed memory through a floor relay. */

import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";

/** Bytes of it: told apart from the end of a run, which is longer. */
export const MEMORY_RECORD_BYTES = 8;

/** Without meaning; all is in the memory. */
export function buildMemoryRecord(): PinnedBuffer {
  return new PinnedBuffer(MEMORY_RECORD_BYTES);
}
