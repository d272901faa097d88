/**
 * How a policy file gets from the disk to the broker: opened once, then asked and read through
 * that one fd. Whether it may be trusted is decided by who asked for it.
 */

import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import { overflowIds } from "../broker/identity/overflow-ids.ts";
import type {
  PolicyDirectoryContents,
  PolicyFileContents,
  PolicyIo,
} from "../broker/policy/policy-file.ts";
import { ConfigError } from "../errors.ts";
import { findGroup, findUser } from "../ffi/user-database.ts";

/** Bytes of the largest policy file. Guess: 10,000 rules have 1 to 2 MiB. */
const POLICY_BYTES_MAX = 4 * 1024 * 1024;

/** The file system and the user database of this machine. */
export function systemPolicyIo(): PolicyIo {
  return {
    readFile: readPolicyFile,
    readDirectory: readPolicyDirectory,
    ownUid: process.geteuid?.() ?? 0,
    directory: { findUser, findGroup, overflow: overflowIds() },
  };
}

/** open(2), fstat(2), read(2). */
function readPolicyFile(path: string): PolicyFileContents {
  const fd = openUnfollowed(path);
  try {
    const stats = fstatSync(fd);
    const text = stats.isFile() ? readText(fd, path) : "";
    return { text, ownerUid: stats.uid, mode: stats.mode };
  } finally {
    closeSync(fd);
  }
}

/** open(2), fstat(2), getdents64(2) through the link that /proc has for the fd. */
function readPolicyDirectory(path: string): PolicyDirectoryContents | undefined {
  let fd: number;
  try {
    fd = openUnfollowed(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  try {
    const stats = fstatSync(fd);
    const names = stats.isDirectory() ? readdirSync(`/proc/self/fd/${fd}`) : [];
    return { names, ownerUid: stats.uid, mode: stats.mode };
  } finally {
    closeSync(fd);
  }
}

/** O_NONBLOCK, because opening a FIFO would wait for a writer. @returns an fd to be closed */
function openUnfollowed(path: string): number {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = constants;
  return openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
}

/** @throws {ConfigError} CONFIG_POLICY: too large, or not UTF-8 */
function readText(fd: number, path: string): string {
  const bytes = new Uint8Array(POLICY_BYTES_MAX + 1);
  let count = 0;
  while (count < bytes.length) {
    const read = readSync(fd, bytes, count, bytes.length - count, count);
    if (read === 0) break;
    count += read;
  }
  if (count > POLICY_BYTES_MAX) throw refuse(path, `it has more than ${POLICY_BYTES_MAX} bytes`);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, count));
  } catch {
    throw refuse(path, "it is not UTF-8");
  }
}

function refuse(path: string, why: string): ConfigError {
  return new ConfigError("CONFIG_POLICY", why, { path });
}
