/**
 * Giving up root for good. The C library sets the ids of all threads; the bare system calls would
 * set those of one thread only and leave Bun's others as root.
 */

import type { Pointer } from "bun:ffi";
import { assert } from "../assert.ts";
import { ArgumentError } from "../errors.ts";
import { libc } from "./libc.ts";
import { PinnedBuffer } from "./pinned-buffer.ts";
import { lastErrno, syscallError } from "./syscall-result.ts";

/** (uid_t) -1 means "leave as it is" to the kernel, and so is no id. */
const ID_MAX = 0xffff_fffe;

/** Who to become. */
export interface TargetCredentials {
  readonly uid: number;
  readonly gid: number;
  /** All supplementary groups; none where empty. */
  readonly groups: readonly number[];
}

/**
 * setgroups(2), setresgid(2), setresuid(2), in this order, since each step needs the rights that the
 * next gives up. Then reads the ids back. When it throws, the process may be half way: let it end.
 * @param target ids 0..2^32-2
 * @throws {ArgumentError} ARGUMENT_OPTION for a number that is no id; nothing was changed then
 * @throws {SyscallError} EPERM (not root), EINVAL (not mapped in this user namespace, or too many
 *   groups), EAGAIN (RLIMIT_NPROC)
 * @throws {AssertionError} where the kernel reads back other ids
 */
export function dropPrivileges(target: TargetCredentials): void {
  const { uid, gid, groups } = target;
  assertId(uid, "uid");
  assertId(gid, "gid");
  for (const group of groups) assertId(group, "groups");

  const list = new PinnedBuffer(Math.max(groups.length, 1) * 4);
  list.words.set(groups);
  if (libc.setgroups(groups.length, list.address as Pointer) < 0) {
    throw syscallError("setgroups", lastErrno(), `to ${groups.length} groups`);
  }
  if (libc.setresgid(gid, gid, gid) < 0) {
    throw syscallError("setresgid", lastErrno(), `to ${gid}`);
  }
  if (libc.setresuid(uid, uid, uid) < 0) {
    throw syscallError("setresuid", lastErrno(), `to ${uid}`);
  }
  assertIdsAre(libc.getresgid, gid);
  assertIdsAre(libc.getresuid, uid);
}

function assertIdsAre(read: typeof libc.getresuid, wanted: number): void {
  const ids = new PinnedBuffer(12);
  const real = ids.address as Pointer;
  const effective = (ids.address + 4) as Pointer;
  const saved = (ids.address + 8) as Pointer;
  assert(read(real, effective, saved) === 0, "the ids can be read back");
  for (const id of ids.words) assert(id === wanted, `the id is ${id}, must be ${wanted}`);
}

function assertId(id: number, argument: string): void {
  if (Number.isInteger(id) && id >= 0 && id <= ID_MAX) return;
  throw new ArgumentError(
    "ARGUMENT_OPTION",
    `Cannot change ${argument}: ${id} is no id, must be an integer 0..${ID_MAX}`,
    argument,
  );
}
