/** Fds that a program lends to publish(), when they have to outlive the call. */

import { duplicateFd, OwnedFd } from "../ffi/owned-fd.ts";

/**
 * Duplicates all of them, or none.
 * @param fds borrowed
 * @returns duplicates, to be closed by the caller
 * @throws {SyscallError} EMFILE, EBADF; nothing stays open then
 */
export function duplicateAll(fds: readonly number[]): OwnedFd[] {
  const duplicates: OwnedFd[] = [];
  try {
    for (const fd of fds) duplicates.push(OwnedFd.adopt(duplicateFd(fd)));
    return duplicates;
  } catch (error) {
    for (const duplicate of duplicates) duplicate.close();
    throw error;
  }
}
