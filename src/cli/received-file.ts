/**
 * What a received fd is, in the words that are printed. Asks the kernel, and never a file's server,
 * which may not answer.
 */

import type { ReceivedFd } from "../client/received-fds.ts";
import type { FoundFdKind } from "../fd-kinds.ts";
import { STATX_SIZE } from "../ffi/constants.ts";
import { fileStatus, readFileStatus } from "../ffi/file-status.ts";
import { STATX_SIZE_OFFSET, unpackU64 } from "../ffi/structs.ts";

/** What has a length. */
const REGULAR_KINDS: readonly FoundFdKind[] = ["memfd-sealed", "memfd", "file-read-only", "file"];

/** What an fd is open on. */
export interface FdDescription {
  readonly kind: FoundFdKind;
  /** Length of a regular file or of memory, as far as this machine knows it. */
  readonly bytes?: number;
}

/** Kind and length. @param file borrowed */
export function describeFd({ kind, fd }: ReceivedFd): FdDescription {
  if (!REGULAR_KINDS.includes(kind) || !readFileStatus(fd, STATX_SIZE)) return { kind };
  return { kind, bytes: unpackU64(fileStatus.words, STATX_SIZE_OFFSET) };
}

/** Bytes to base64, piece by piece, with no padding before the end. */
export async function* toBase64(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let rest: Uint8Array = new Uint8Array();
  for await (const piece of pieces) {
    const bytes = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    const whole = bytes.length - (bytes.length % 3);
    yield Buffer.from(bytes.subarray(0, whole)).toString("base64");
    rest = bytes.slice(whole);
  }
  yield Buffer.from(rest).toString("base64");
}
