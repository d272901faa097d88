/**
 * What the broker asks of the memory that a large message's body is in, before it passes it on:
 * docs/protocol.md section 9. It looks at the memory's state and never at what it holds.
 */

import {
  HAS_HOLES,
  NOT_MEMORY,
  NOT_READABLE,
  NOT_SEALED,
  sealedMemoryBytes,
} from "../../ffi/sealed-memory.ts";
import { LARGE_BODY_BYTES_MAX } from "../../protocol/limits.ts";
import type { LimitFigures } from "../quotas/excess.ts";

/** Why a large message is refused. */
export interface LargeBodyFlaw {
  readonly code: "REJECTED_LARGE_BODY" | "LIMIT_MESSAGE_BYTES";
  /** A sentence for the sender. */
  readonly message: string;
  /** With LIMIT_MESSAGE_BYTES. */
  readonly figures?: LimitFigures;
}

const FLAWS: ReadonlyMap<number, string> = new Map([
  [NOT_MEMORY, "its body must be behind a memfd of ordinary pages"],
  [NOT_SEALED, "its body must be sealed against sealing, shrinking, growing and writing"],
  [NOT_READABLE, "its body must be open for reading"],
  [HAS_HOLES, "its body must be written all through"],
]);

/**
 * Checks the body of a large message.
 * @param fd borrowed
 * @param claimedBytes the length that the frame names
 * @returns undefined where the body may be passed on
 */
export function largeBodyFlaw(
  fd: number,
  claimedBytes: number,
  topic: string,
): LargeBodyFlaw | undefined {
  if (claimedBytes > LARGE_BODY_BYTES_MAX) {
    const sizes = `${claimedBytes} bytes, limit is ${LARGE_BODY_BYTES_MAX}`;
    const message = `Cannot send to "${topic}": body is ${sizes}`;
    // A client can claim more than a control frame can say.
    const actual = Math.min(claimedBytes, Number.MAX_SAFE_INTEGER);
    const figures = { limit: LARGE_BODY_BYTES_MAX, actual };
    return { code: "LIMIT_MESSAGE_BYTES", message, figures };
  }
  const bytes = sealedMemoryBytes(fd);
  if (bytes === claimedBytes) return undefined;
  const why = FLAWS.get(bytes) ?? `its body has ${bytes} bytes, the frame says ${claimedBytes}`;
  return { code: "REJECTED_LARGE_BODY", message: `Cannot send to "${topic}": ${why}` };
}
