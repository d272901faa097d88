/**
 * What a received fd is, and what it holds: streamed in pieces, so that memory stays bounded
 * whatever it is. Borrows fds and never closes them.
 */

import { fstatSync, read, type Stats } from "node:fs";
import { promisify } from "node:util";

const readAsync = promisify(read);

/** Bytes of a piece. A multiple of 3, so that pieces in base64 can stand behind one another. */
const PIECE_BYTES = 48 * 1024;

/** What kind of thing an fd is open on. */
export interface FdDescription {
  readonly type: "file" | "directory" | "pipe" | "socket" | "device" | "other";
  /** Length of a regular file. */
  readonly bytes?: number;
}

/** fstat(2) in words. */
export function describeFd(fd: number): FdDescription {
  const stats = fstatSync(fd);
  const type = typeOf(stats);
  return type === "file" ? { type, bytes: stats.size } : { type };
}

function typeOf(stats: Stats): FdDescription["type"] {
  if (stats.isFile()) return "file";
  if (stats.isDirectory()) return "directory";
  if (stats.isFIFO()) return "pipe";
  if (stats.isSocket()) return "socket";
  return stats.isCharacterDevice() || stats.isBlockDevice() ? "device" : "other";
}

/**
 * Reads all that an fd holds. A regular file is read from its start with pread(2), because its
 * position is shared with everybody else who got it; all else is read until it ends, which may be
 * never.
 * @param fd borrowed until the end of the iteration
 * @throws errors of node:fs, such as EISDIR, EBADF (opened for writing)
 */
export async function* readFd(fd: number): AsyncGenerator<Uint8Array> {
  if (fstatSync(fd).isFile()) yield* readRegularFile(fd);
  else yield* Bun.file(fd).stream();
}

async function* readRegularFile(fd: number): AsyncGenerator<Uint8Array> {
  let position = 0;
  for (;;) {
    const piece = new Uint8Array(PIECE_BYTES);
    const { bytesRead } = await readAsync(fd, piece, 0, PIECE_BYTES, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield piece.subarray(0, bytesRead);
  }
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
