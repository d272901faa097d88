/** Fds that a program lends to publish(), when they have to outlive the call. */

import { ArgumentError, SyscallError } from "../errors.ts";
import { duplicateFd, OwnedFd } from "../ffi/owned-fd.ts";

/**
 * Duplicates all of them, or none.
 * @param fds borrowed
 * @returns duplicates, to be closed by the caller
 * @throws {SyscallError} EMFILE; nothing stays open then
 * @throws {ArgumentError} ARGUMENT_FD where one of them is not open; the same
 */
export function duplicateAll(fds: readonly number[]): OwnedFd[] {
  const duplicates: OwnedFd[] = [];
  try {
    for (const fd of fds) duplicates.push(OwnedFd.adopt(duplicate(fd)));
    return duplicates;
  } catch (error) {
    for (const owned of duplicates) owned.close();
    throw error;
  }
}

/** The same error as where the fd is sent at once. */
function duplicate(fd: number): number {
  try {
    return duplicateFd(fd);
  } catch (error) {
    if (!(error instanceof SyscallError) || error.code !== "EBADF") throw error;
    const message = `Cannot send file descriptor ${fd}: it is not open`;
    throw new ArgumentError("ARGUMENT_FD", message, "fds", { cause: error });
  }
}
