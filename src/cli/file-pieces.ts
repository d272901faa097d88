/**
 * Reads received files piece by piece, and gives up on those that never end or never answer: a
 * stranger sent them, and no command must be held up by that for ever.
 */

import { tooLarge } from "../client/fd-reader.ts";
import type { ReceivedFd } from "../client/received-fds.ts";
import { TimeoutError } from "../errors.ts";

/** Bounds for each file. */
export interface FileLimits {
  /** A longer one is given up. */
  readonly bytesMax: number;
  /** So is one that gives nothing for so many milliseconds. */
  readonly idleMs: number;
}

/**
 * A file from its start, or a pipe until its end. What is beyond the limit is not given out.
 * @param file handed over; closed at the end of the loop, however that ends
 * @throws {LimitError} LIMIT_FILE_BYTES
 * @throws {TimeoutError} TIMEOUT_FILE
 * @throws as ReceivedFd.stream()
 */
export async function* piecesOf(
  file: ReceivedFd,
  { bytesMax, idleMs }: FileLimits,
): AsyncGenerator<Uint8Array> {
  const reader = file.stream().getReader();
  let bytes = 0;
  try {
    for (;;) {
      const { done, value } = await within(idleMs, reader.read());
      if (done) return;
      bytes += value.byteLength;
      if (bytes > bytesMax) {
        throw tooLarge("read received file", { limit: bytesMax, actual: bytes });
      }
      yield value;
    }
  } finally {
    await reader.cancel();
  }
}

async function within<Result>(milliseconds: number, work: Promise<Result>): Promise<Result> {
  let timer: Timer | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const message = `Cannot read received file: nothing came for ${milliseconds} ms`;
      reject(new TimeoutError("TIMEOUT_FILE", message, milliseconds));
    }, milliseconds);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
