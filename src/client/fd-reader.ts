/**
 * Reads what an fd holds, in pieces, without blocking the program and without trusting who sent it.
 *
 * A regular file is read with pread(2) from its start. Its position belongs to all who got the file,
 * in every process: who reads with read(2), as Bun.file(fd).text() does, takes what others miss.
 */

import { fstat, read, type Stats } from "node:fs";
import { promisify } from "node:util";
import { LimitError, SyscallError } from "../errors.ts";
import type { FoundFdKind } from "../fd-kinds.ts";
import { fdKind } from "../ffi/fd-kind.ts";
import type { LentFd } from "./lent-fd.ts";
import { RECEIVED_PIECE_BYTES } from "./limits.ts";

const fstatAsync = promisify<number, Stats>(fstat);
const readAsync = promisify(read);

/** What has a size and a position. */
const REGULAR_KINDS: ReadonlySet<FoundFdKind> = new Set<FoundFdKind>([
  "memfd-sealed",
  "memfd",
  "file-read-only",
  "file",
]);

/** Closes the fds of streams that the program dropped unread. */
const LOST_STREAMS = new FinalizationRegistry<LentFd>((fd) => fd.close());

/** Reads one fd, once. */
export class FdReader {
  readonly #fd: LentFd;
  #isRegular: boolean | undefined;
  /** In a regular file. */
  #position = 0;
  /** Of anything else. Bun reads from a duplicate, and closes that itself. */
  #source: ReturnType<typeof openSource> | undefined;

  /** @param fd borrowed until the end of the reading, or cancel() */
  constructor(fd: LentFd) {
    this.#fd = fd;
  }

  /**
   * The next piece.
   * @returns undefined at the end
   * @throws {SyscallError} EISDIR, EBADF (not open for reading), EIO and others
   * @throws {DataError} DATA_FDS_TAKEN where the fd was closed meanwhile
   */
  async read(): Promise<Uint8Array | undefined> {
    try {
      this.#isRegular ??= REGULAR_KINDS.has(fdKind(this.#fd.number, false));
      return this.#isRegular ? await this.#readRegular() : await this.#readStream();
    } catch (error) {
      throw asSyscallError(error, "read");
    }
  }

  /** Ends a read that waits. The fd stays open. */
  async cancel(): Promise<void> {
    await this.#source?.cancel();
  }

  async #readRegular(): Promise<Uint8Array | undefined> {
    const piece = new Uint8Array(RECEIVED_PIECE_BYTES);
    const { bytesRead } = await this.#fd.lend((fd) =>
      readAsync(fd, piece, 0, RECEIVED_PIECE_BYTES, this.#position),
    );
    this.#position += bytesRead;
    return bytesRead === 0 ? undefined : piece.subarray(0, bytesRead);
  }

  async #readStream(): Promise<Uint8Array | undefined> {
    this.#source ??= openSource(this.#fd.number);
    const source = this.#source;
    for (;;) {
      const { done, value } = await source.read();
      if (done) return undefined;
      if (value.byteLength > 0) return value;
    }
  }
}

function openSource(fd: number) {
  return Bun.file(fd).stream().getReader();
}

/**
 * All that an fd holds.
 * @param fd borrowed until then
 * @param bytesMax more is an error; a stranger's pipe may never end
 * @throws {LimitError} LIMIT_FILE_BYTES
 * @throws as FdReader.read()
 */
export async function readAll(fd: LentFd, bytesMax: number): Promise<Uint8Array> {
  const reader = new FdReader(fd);
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for (let piece = await reader.read(); piece !== undefined; piece = await reader.read()) {
    pieces.push(piece);
    bytes += piece.byteLength;
    if (bytes <= bytesMax) continue;
    await reader.cancel();
    throw tooLarge("read received file", { limit: bytesMax, actual: bytes });
  }
  return Bun.concatArrayBuffers(pieces, bytes, true);
}

/**
 * LIMIT_FILE_BYTES.
 * @param action such as "read received file"
 * @param figures bytes; of what is not known to its end, as many as were seen
 */
export function tooLarge(action: string, figures: { limit: number; actual: number }): LimitError {
  const message = `Cannot ${action}: it has more than ${figures.limit} bytes`;
  return new LimitError("LIMIT_FILE_BYTES", message, figures);
}

/**
 * What an fd holds, as a stream. The fd is closed at its end, by cancel(), after an error, and where
 * the program drops the stream.
 * @param fd handed over
 */
export function streamOf(fd: LentFd): ReadableStream<Uint8Array> {
  const reader = new FdReader(fd);
  const finish = () => {
    LOST_STREAMS.unregister(fd);
    fd.close();
  };
  const source = {
    async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
      let piece: Uint8Array | undefined;
      try {
        piece = await reader.read();
      } catch (error) {
        finish();
        throw error;
      }
      // Nobody listens any more.
      if (!fd.isOpen) return;
      if (piece !== undefined) return controller.enqueue(piece);
      finish();
      controller.close();
    },
    async cancel(): Promise<void> {
      finish();
      await reader.cancel();
    },
  };
  const stream = new ReadableStream<Uint8Array>(source, { highWaterMark: 0 });
  LOST_STREAMS.register(stream, fd, fd);
  return stream;
}

/** fstat(2) on another thread: the file may be on a server that never answers. */
export async function statOf(fd: LentFd): Promise<Stats> {
  try {
    return await fd.lend(fstatAsync);
  } catch (error) {
    throw asSyscallError(error, "fstat");
  }
}

/** Errors of the runtime as our own; all others as they are. */
function asSyscallError(error: unknown, syscall: string): unknown {
  if (error instanceof SyscallError || !(error instanceof Error)) return error;
  const { code, errno } = error as NodeJS.ErrnoException;
  if (code === undefined || errno === undefined) return error;
  const message = `Cannot ${syscall} received file: ${code}`;
  return new SyscallError(message, { code, errno: Math.abs(errno), syscall }, { cause: error });
}
