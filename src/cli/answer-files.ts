/**
 * The files that a command of `seqbus serve` gives along with its answer. It gets a list to write
 * their paths into, one a line, and they are opened when it has ended. The list is memory and no
 * pipe: nobody has to read it meanwhile, and what the command leaves running cannot hold it open.
 */

import { closeSync, constants, fstatSync, open, readSync } from "node:fs";
import { promisify } from "node:util";
import { tooLarge } from "../client/fd-reader.ts";
import { LimitError, ServiceError } from "../errors.ts";
import { createMemfd } from "../ffi/memfd.ts";
import { OwnedFd } from "../ffi/owned-fd.ts";
import { MESSAGE_FDS_MAX } from "../protocol/limits.ts";
import { isOperatingError } from "./exit-codes.ts";
import { warn } from "./output.ts";

/** What /proc/PID/fd shows. */
const LIST_NAME = "seqbus-answer-files";

/** Bytes of a path with what ends it. Source: PATH_MAX of Linux. */
const PATH_BYTES_MAX = 4096;

/** Bytes of a list. */
const LIST_BYTES_MAX = MESSAGE_FDS_MAX * PATH_BYTES_MAX;

/** Nobody is waited for who might write to a FIFO: serve has others to answer meanwhile. */
const LOOK = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

const openAsync = promisify<Buffer | string, number, number>(open);

/** Paths that a command writes. Works with `using`. */
export class PathList implements Disposable {
  readonly #memory: OwnedFd = OwnedFd.adopt(createMemfd(LIST_NAME, 0));

  /** For the command to inherit; borrowed. */
  get fd(): number {
    return this.#memory.number;
  }

  /**
   * What stands in it.
   * @returns a path for each line, as bytes: Linux has no other idea of a path
   * @throws {LimitError} LIMIT_MESSAGE_FDS for more than 253; LIMIT_FILE_BYTES where they are so long
   *   that they cannot all be paths
   */
  read(): Buffer[] {
    const { fd } = this;
    const { size } = fstatSync(fd);
    if (size > LIST_BYTES_MAX) {
      throw tooLarge("read the files of an answer", { limit: LIST_BYTES_MAX, actual: size });
    }
    const bytes = Buffer.alloc(size);
    const text = bytes.toString("latin1", 0, readSync(fd, bytes, 0, size, 0));
    if (text === "") return [];
    const lines = text.replace(/\n$/, "").split("\n");
    checkCount(lines.length);
    return lines.map((line) => Buffer.from(line, "latin1"));
  }

  [Symbol.dispose](): void {
    this.#memory.close();
  }
}

function checkCount(actual: number): void {
  const limit = MESSAGE_FDS_MAX;
  if (actual <= limit) return;
  const message = `Cannot answer with ${actual} files, limit is ${limit}`;
  throw new LimitError("LIMIT_MESSAGE_FDS", message, { limit, actual });
}

/** Files that are open until it is disposed of. */
export interface OpenedFiles extends Disposable {
  readonly fds: readonly number[];
}

/**
 * open(2) O_RDONLY of each path, or of none. Files and directories alone: a FIFO would seem empty
 * until somebody writes to it, and a device may do anything when it is opened.
 * @param topic of the service, for the error
 * @throws {ServiceError} with the errno of the file that cannot be opened, EINVAL for another kind. It
 *   names no path, which is told here: what is where is none of the caller's business
 */
export async function openFiles(paths: readonly Buffer[], topic: string): Promise<OpenedFiles> {
  using opened = new DisposableStack();
  const fds: number[] = [];
  for (const [index, path] of paths.entries()) {
    const fd = await openFile(path, `file ${index} of the answer`, topic);
    opened.defer(() => closeSync(fd));
    fds.push(fd);
  }
  const files = opened.move();
  return { fds, [Symbol.dispose]: () => files.dispose() };
}

async function openFile(path: Buffer, what: string, topic: string): Promise<number> {
  try {
    // What open(2) says of the first, and has no words for in the second.
    if (path.length === 0) throw unopened("ENOENT", what, topic);
    if (path.includes(0)) throw unopened("EINVAL", what, topic);
    return await reopen(await openAsync(path, LOOK), what, topic);
  } catch (error) {
    if (!isOperatingError(error)) throw error;
    const { code } = error;
    warn(`Cannot open ${what}, "${path}": ${code}`);
    throw unopened(code, what, topic);
  }
}

/** The same file without O_NONBLOCK, which whoever gets it would have as well. @param fd handed over */
async function reopen(fd: number, what: string, topic: string): Promise<number> {
  try {
    const status = fstatSync(fd);
    if (!status.isFile() && !status.isDirectory()) throw unopened("EINVAL", what, topic);
    return await openAsync(`/proc/self/fd/${fd}`, constants.O_RDONLY);
  } finally {
    closeSync(fd);
  }
}

function unopened(code: string, what: string, topic: string): ServiceError {
  return new ServiceError(code, `Cannot open ${what}: ${code}`, { topic });
}
