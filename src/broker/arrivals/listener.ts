/**
 * The socket that clients connect to, from the first check of its directory to its removal.
 *
 * Order, so that nobody is ever harmed: path and directory checked, lock taken on a sibling file that is
 * never unlinked, stale socket removed, bound with no permissions, mode set, listen last. Two
 * brokers can never share a path, a stale file never blocks a start, and nobody connects before
 * the permissions stand.
 */

import {
  chmodSync,
  constants,
  lstatSync,
  openSync,
  type Stats,
  statSync,
  unlinkSync,
} from "node:fs";
import { dirname } from "node:path";
import { ConfigError, SyscallError } from "../../errors.ts";
import { lockExclusive } from "../../ffi/file-lock.ts";
import { closeFd, FdGuard, type OwnedFd } from "../../ffi/owned-fd.ts";
import {
  acceptConnection,
  bindPath,
  checkSocketPath,
  connectPath,
  listen,
  openSeqpacket,
} from "../../ffi/seqpacket.ts";
import { enablePacketCredentials, setPassRights } from "../../ffi/socket-options.ts";
import { LISTEN_BACKLOG } from "./limits.ts";

/** S_ISVTX, inode(7). */
const STICKY_BIT = 0o1000;

/** No permissions for anybody while the socket is bound and not yet chmod'ed. */
const BIND_UMASK = 0o777;

/** A listening socket on a path that is ours alone. */
export class Listener {
  readonly path: string;
  /** Whether its connections take no fds until setPassRights() lets them. */
  readonly keepsFdsOut: boolean;
  readonly #socket: OwnedFd;
  readonly #lock: OwnedFd;
  readonly #inode: { dev: number; ino: number };

  private constructor(path: string, socket: OwnedFd, lock: OwnedFd, keepsFdsOut: boolean) {
    const { dev, ino } = lstatSync(path);
    this.path = path;
    this.keepsFdsOut = keepsFdsOut;
    this.#socket = socket;
    this.#lock = lock;
    this.#inode = { dev, ino };
  }

  /**
   * Takes a path and listens on it.
   * @param path absolute or relative pathname, at most 107 bytes
   * @param options mode: permissions of the socket, connecting needs write permission;
   *   verifiesPackets: each packet of its connections is to say who sent it;
   *   keepFdsOut: its connections start shut for fds, where the kernel can do that
   * @throws {ArgumentError} ARGUMENT_SOCKET_PATH
   * @throws {ConfigError} CONFIG_SOCKET_DIRECTORY, CONFIG_SOCKET_IN_USE
   * @throws {SyscallError} any other failure, with the path
   */
  static open(
    path: string,
    options: { mode: number; verifiesPackets: boolean; keepFdsOut: boolean },
  ): Listener {
    // Before anything is made: a lock file that nobody needs would stay.
    checkSocketPath(path);
    checkDirectory(path);
    using socket = new FdGuard(openSeqpacket());
    using lock = new FdGuard(takeLock(path));
    removeStaleSocket(path);
    const umask = process.umask(BIND_UMASK);
    try {
      bindPath(socket.number, path);
    } finally {
      process.umask(umask);
    }
    chmodSync(path, options.mode);
    if (options.verifiesPackets) enablePacketCredentials(socket.number);
    const keepsFdsOut = options.keepFdsOut && setPassRights(socket.number, false);
    listen(socket.number, LISTEN_BACKLOG);
    return new Listener(path, socket.take(), lock.take(), keepsFdsOut);
  }

  /** Borrowed; for epoll. */
  get fd(): number {
    return this.#socket.number;
  }

  /** Outcome of acceptConnection(): an fd that the caller owns, or a negative outcome. */
  accept(): number {
    return acceptConnection(this.#socket.number);
  }

  /** Stops listening and removes the socket file, unless the path is somebody else's by now. */
  close(): void {
    if (!this.#socket.isOpen) return;
    const found = lstatSync(this.path, { throwIfNoEntry: false });
    if (found?.ino === this.#inode.ino && found.dev === this.#inode.dev) unlinkSync(this.path);
    this.#socket.close();
    this.#lock.close();
  }
}

/** Whoever can write to the directory can replace the socket, so it must be root's or ours. */
function checkDirectory(path: string): void {
  const directory = dirname(path);
  const found = statSync(directory, { throwIfNoEntry: false });
  const refuse = (why: string): never => {
    throw new ConfigError(
      "CONFIG_SOCKET_DIRECTORY",
      `Cannot serve ${path}: directory ${directory} ${why}`,
      { path: directory },
    );
  };
  if (found === undefined) return refuse("does not exist; create it first, for the broker's user");
  if (!found.isDirectory()) return refuse("is not a directory");
  const uid = process.geteuid?.() ?? 0;
  if (found.uid !== 0 && found.uid !== uid) {
    return refuse(`belongs to uid ${found.uid}, must belong to root or to uid ${uid}`);
  }
  if (isOpenToOthers(found)) {
    return refuse("can be written to by others; remove that permission or set the sticky bit");
  }
}

/** Sticky directories such as /tmp are safe: others cannot remove or rename what is ours. */
function isOpenToOthers(stats: Stats): boolean {
  return (stats.mode & 0o022) !== 0 && (stats.mode & STICKY_BIT) === 0;
}

function takeLock(path: string): number {
  const lockPath = `${path}.lock`;
  const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
  const fd = openLock(path, lockPath, O_RDWR | O_CREAT | O_NOFOLLOW);
  if (lockExclusive(fd)) return fd;
  closeFd(fd);
  throw new ConfigError(
    "CONFIG_SOCKET_IN_USE",
    `Cannot serve ${path}: another broker does, it holds the lock ${lockPath}`,
    { path },
  );
}

/** @throws {ConfigError} CONFIG_SOCKET_DIRECTORY: a link, or somebody else's file, is in the way */
function openLock(path: string, lockPath: string, flags: number): number {
  try {
    return openSync(lockPath, flags, 0o600);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : "an error";
    throw new ConfigError(
      "CONFIG_SOCKET_DIRECTORY",
      `Cannot serve ${path}: opening its lock ${lockPath} gives ${code}`,
      { path: lockPath },
      { cause },
    );
  }
}

/** We hold the lock, so no broker serves the path. Something else may: then leave it alone. */
function removeStaleSocket(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  const refuse = (why: string): never => {
    throw new ConfigError("CONFIG_SOCKET_IN_USE", `Cannot serve ${path}: ${why}`, { path });
  };
  if (!found.isSocket()) return refuse("a file stands there that is not a socket");
  if (isServed(path)) return refuse("another program listens there");
  unlinkSync(path);
}

/** ECONNREFUSED is the kernel's word that nobody listens on a socket file. */
function isServed(path: string): boolean {
  const fd = openSeqpacket();
  try {
    connectPath(fd, path);
    return true;
  } catch (error) {
    return !(error instanceof SyscallError && error.code === "ECONNREFUSED");
  } finally {
    closeFd(fd);
  }
}
