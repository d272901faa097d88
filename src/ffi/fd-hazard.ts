/**
 * Whether closing an fd may keep the caller waiting. Asks nobody who could keep it waiting, too.
 *
 * close(2) of a file calls its file system and, with the last fd of it, its driver. FUSE and network
 * file systems ask a server, and some sockets linger. Even a pipe can hang: while a writer in another
 * process copies from memory that a FUSE server does not hand out, it holds the pipe's lock, and the
 * close of the reading end waits for that lock for ever. Memory of memfd_create(2) has nobody to ask,
 * but freeing a lot of it takes time: 0.13 ms a MiB.
 */

import { STATX_BLOCKS, STATX_TYPE } from "./constants.ts";
import { fileStatus, MEMORY_DEVICE, readFileStatus, statusDevice } from "./file-status.ts";
import * as structs from "./structs.ts";

const BLOCK_BYTES = 512;

/** Memory that is freed at once, in bytes; 4 MiB take half a millisecond. */
const MEMORY_BYTES_MAX = 4 * 1024 * 1024;
const BLOCKS_MAX = MEMORY_BYTES_MAX / BLOCK_BYTES;

/**
 * statx(2): 0.4 us.
 * @param fd borrowed
 * @returns true only for memory of memfd_create(2) that is 4 MiB or less and not of huge pages
 */
export function closesAtOnce(fd: number): boolean {
  // Asking for the blocks of a file would make some file systems write first; memory tells unasked.
  return readFileStatus(fd, STATX_TYPE) && lastClosesAtOnce();
}

/**
 * The same of the fd whose status was read last: `fileStatus` holds it. Calls nothing.
 * @returns true only for memory, as above
 */
export function lastClosesAtOnce(): boolean {
  if (statusDevice() !== MEMORY_DEVICE) return false;
  const { words } = fileStatus;
  if ((structs.unpackU32(words, 0) & STATX_BLOCKS) === 0) return false;
  return structs.unpackU64(words, structs.STATX_BLOCKS_OFFSET) <= BLOCKS_MAX;
}
