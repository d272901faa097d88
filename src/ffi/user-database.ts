/**
 * Users and groups by name or number, asked of the C library, so that everything in nsswitch.conf
 * (LDAP, sssd, systemd) is heard. May read files or ask over a network and blocks meanwhile: for
 * start-up and configuration, never per message or per connection.
 */

import type { Pointer } from "bun:ffi";
import { assert } from "../assert.ts";
import { EINTR, ENOENT, ERANGE, ESRCH } from "./constants.ts";
import { libc } from "./libc.ts";
import { PinnedBuffer } from "./pinned-buffer.ts";
import {
  GROUP_BYTES,
  GROUP_GID_OFFSET,
  PASSWD_BYTES,
  PASSWD_GID_OFFSET,
  PASSWD_UID_OFFSET,
  unpackU32,
  unpackU64,
} from "./structs.ts";
import { syscallError } from "./syscall-result.ts";

/** Holds the texts of one entry. Enough for all but groups with very many members. */
const TEXT_BYTES_FIRST = 4_096;
/** Gives up here: a group with 100,000 members needs about 2 MiB. */
const TEXT_BYTES_MAX = 16 * 1024 * 1024;
/** (uid_t) -1 stands for nobody. */
const ID_MAX = 0xffff_fffe;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** An entry of the user database. */
export interface UserEntry {
  readonly name: string;
  readonly uid: number;
  /** Primary group. */
  readonly gid: number;
}

/** An entry of the group database. */
export interface GroupEntry {
  readonly name: string;
  readonly gid: number;
}

/** One of the four C functions, with its key bound. Returns an errno. */
type LookUp = (entry: Pointer, text: Pointer, textBytes: number, result: Pointer) => number;

/** A found entry: its struct at byte 0, and the text buffer that its pointers point into. */
interface FoundEntry {
  readonly struct: PinnedBuffer;
  readonly text: PinnedBuffer;
}

/**
 * getpwnam_r(3) for a string, getpwuid_r(3) for a number.
 * @param nameOrUid a string is always a name, also "1000"
 * @returns undefined where there is no such entry; that does not mean that no process has this uid
 * @throws {SyscallError} EIO, EMFILE, ENOMEM
 */
export function findUser(nameOrUid: string | number): UserEntry | undefined {
  const lookUp = userLookUp(nameOrUid);
  if (lookUp === undefined) return undefined;
  const call = typeof nameOrUid === "number" ? "getpwuid_r" : "getpwnam_r";
  const found = findEntry(call, nameOrUid, PASSWD_BYTES, lookUp);
  if (found === undefined) return undefined;
  return {
    name: readName(found),
    uid: unpackU32(found.struct.words, PASSWD_UID_OFFSET),
    gid: unpackU32(found.struct.words, PASSWD_GID_OFFSET),
  };
}

/**
 * getgrnam_r(3) for a string, getgrgid_r(3) for a number.
 * @param nameOrGid a string is always a name, also "1000"
 * @returns undefined where there is no such entry; that does not mean that no process has this gid
 * @throws {SyscallError} EIO, EMFILE, ENOMEM
 */
export function findGroup(nameOrGid: string | number): GroupEntry | undefined {
  const lookUp = groupLookUp(nameOrGid);
  if (lookUp === undefined) return undefined;
  const call = typeof nameOrGid === "number" ? "getgrgid_r" : "getgrnam_r";
  const found = findEntry(call, nameOrGid, GROUP_BYTES, lookUp);
  if (found === undefined) return undefined;
  return { name: readName(found), gid: unpackU32(found.struct.words, GROUP_GID_OFFSET) };
}

function userLookUp(key: string | number): LookUp | undefined {
  if (typeof key === "number") {
    return isId(key) ? (...rest) => libc.getpwuid_r(key, ...rest) : undefined;
  }
  const name = encodeName(key);
  return name && ((...rest) => libc.getpwnam_r(name.address as Pointer, ...rest));
}

function groupLookUp(key: string | number): LookUp | undefined {
  if (typeof key === "number") {
    return isId(key) ? (...rest) => libc.getgrgid_r(key, ...rest) : undefined;
  }
  const name = encodeName(key);
  return name && ((...rest) => libc.getgrnam_r(name.address as Pointer, ...rest));
}

function isId(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= ID_MAX;
}

/** undefined for what cannot be a name: C would stop at the NUL and find somebody else. */
function encodeName(name: string): PinnedBuffer | undefined {
  if (name === "" || name.includes("\0") || !name.isWellFormed()) return undefined;
  const encoded = encoder.encode(name);
  const buffer = new PinnedBuffer(encoded.length + 1);
  buffer.bytes.set(encoded);
  return buffer;
}

function findEntry(
  syscall: string,
  key: string | number,
  structBytes: number,
  lookUp: LookUp,
): FoundEntry | undefined {
  const struct = new PinnedBuffer(structBytes);
  const result = new PinnedBuffer(8);
  let text = new PinnedBuffer(TEXT_BYTES_FIRST);
  for (;;) {
    const errno = lookUp(
      struct.address as Pointer,
      text.address as Pointer,
      text.byteLength,
      result.address as Pointer,
    );
    if (errno === ERANGE && text.byteLength < TEXT_BYTES_MAX) {
      text = new PinnedBuffer(text.byteLength * 4);
    } else if (errno === 0) {
      return unpackU64(result.words, 0) === 0 ? undefined : { struct, text };
    } else if (errno === ENOENT || errno === ESRCH) {
      return undefined;
    } else if (errno !== EINTR) {
      throw syscallError(syscall, errno, JSON.stringify(key));
    }
  }
}

/** Both structs begin with the address of the name, which lies in the text buffer. */
function readName({ struct, text }: FoundEntry): string {
  const start = unpackU64(struct.words, 0) - text.address;
  assert(start >= 0, "the name does not start before the text buffer");
  assert(start < text.byteLength, "the name starts inside the text buffer");
  const end = text.bytes.indexOf(0, start);
  assert(end >= 0, "the name ends inside the text buffer");
  return decoder.decode(text.bytes.subarray(start, end));
}
