/** The error for fds that did not reach, or leave, this process because it may hold no more of them. */

import { LimitError } from "../errors.ts";
import { getOpenFilesLimit } from "../ffi/resource-limits.ts";

/**
 * LIMIT_QUEUED_FDS. The kernel says only that there was no room; so what there would have been is
 * taken to be all that the process may hold (RLIMIT_NOFILE), and those that came.
 * @param count fds that there was no room for
 */
export function fdShortage(message: string, count: number): LimitError {
  const limit = getOpenFilesLimit().soft;
  return new LimitError("LIMIT_QUEUED_FDS", message, { limit, actual: limit + count });
}
