/**
 * Copies received files into a directory, under names that nobody else chooses: the number of the
 * message and that of the file in it. Nothing that exists is opened, followed or overwritten, and a
 * file that never ends or never answers does not hold the command up for ever.
 */

import {
  close,
  closeSync,
  constants,
  mkdirSync,
  open,
  openSync,
  readdirSync,
  unlink,
  write,
} from "node:fs";
import { promisify } from "node:util";
import type { ReceivedFd } from "../client/received-fds.ts";
import { LimitError, TimeoutError } from "../errors.ts";
import type { FoundFdKind } from "../fd-kinds.ts";
import { isOperatingError } from "./exit-codes.ts";
import { fileError } from "./file-error.ts";

/** What can be copied; a pipe until its end. */
const SAVED_KINDS: readonly FoundFdKind[] = [
  "memfd-sealed",
  "memfd",
  "file-read-only",
  "file",
  "pipe",
];

/** Digits of a message's number at least, so that names sort. */
const NUMBER_DIGITS = 6;
const SAVED_NAME = /^([0-9]{6,15})-[0-9]+$/;

const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
/** What a stranger sent is for the own user alone, until that user says otherwise. */
const NEW_FILE_MODE = 0o600;
const NEW_DIRECTORY_MODE = 0o700;

const closeAsync = promisify(close);
const openAsync = promisify<string, number, number, number>(open);
const unlinkAsync = promisify(unlink);
const writeAsync = promisify(write);

/** Bounds for each file. */
export interface SaveLimits {
  /** A longer file is not kept. */
  readonly bytesMax: number;
  /** Nor one that gives nothing for so many milliseconds. */
  readonly idleMs: number;
}

/** What became of one file: its name in the directory and its length, or why it is not there. */
export type SaveOutcome =
  | { readonly saved: string; readonly savedBytes: number }
  | { readonly notSaved: string };

/** Saves into one directory. Works with `using`. */
export class FileSaver implements Disposable {
  readonly #directoryFd: number;
  readonly #limits: SaveLimits;
  #number: number;

  /**
   * Opens the directory, and makes it where it is missing. Numbers go on from those that are there.
   * @throws errors of node:fs
   */
  constructor(path: string, limits: SaveLimits) {
    mkdirSync(path, { recursive: true, mode: NEW_DIRECTORY_MODE });
    // What the path leads to may change; what is open does not.
    this.#directoryFd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
    this.#limits = limits;
    this.#number = readdirSync(this.#pathOf("")).map(numberOf).reduce(larger, 0);
  }

  /** The files that are saved from here on are those of one more message. */
  nextMessage(): void {
    this.#number += 1;
  }

  /**
   * Copies a file from its start, or a pipe until its end.
   * @param file handed over
   * @param index its place in the message
   */
  async save(file: ReceivedFd, index: number): Promise<SaveOutcome> {
    using source = file;
    const { kind } = source;
    if (!SAVED_KINDS.includes(kind)) return { notSaved: `its kind is ${kind}` };
    try {
      return await this.#copy(source, index);
    } catch (error) {
      if (!isOperatingError(error)) throw error;
      return { notSaved: error.message };
    }
  }

  /** Closes the directory. */
  [Symbol.dispose](): void {
    closeSync(this.#directoryFd);
  }

  async #copy(file: ReceivedFd, index: number): Promise<SaveOutcome> {
    const name = `${String(this.#number).padStart(NUMBER_DIGITS, "0")}-${index}`;
    const target = await this.#create(name);
    try {
      const savedBytes = await copyPieces(file, target, this.#limits);
      return { saved: name, savedBytes };
    } catch (error) {
      // Whoever finds a file here may take it for a whole one.
      await unlinkAsync(this.#pathOf(name));
      throw error;
    } finally {
      await closeAsync(target);
    }
  }

  async #create(name: string): Promise<number> {
    try {
      return await openAsync(this.#pathOf(name), NEW_FILE, NEW_FILE_MODE);
    } catch (cause) {
      throw fileError(cause, "make", name);
    }
  }

  #pathOf(name: string): string {
    return `/proc/self/fd/${this.#directoryFd}/${name}`;
  }
}

function numberOf(name: string): number {
  return Number(SAVED_NAME.exec(name)?.[1] ?? 0);
}

function larger(left: number, right: number): number {
  return Math.max(left, right);
}

async function copyPieces(
  file: ReceivedFd,
  target: number,
  { bytesMax, idleMs }: SaveLimits,
): Promise<number> {
  const reader = file.stream().getReader();
  let bytes = 0;
  try {
    for (;;) {
      const { done, value } = await within(idleMs, reader.read());
      if (done) return bytes;
      bytes += value.byteLength;
      if (bytes > bytesMax) throw tooLong({ limit: bytesMax, actual: bytes });
      for (let at = 0; at < value.byteLength; ) {
        at += (await writeAsync(target, value, at, value.byteLength - at)).bytesWritten;
      }
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

function tooLong(figures: { limit: number; actual: number }): LimitError {
  const message = `Cannot save received file: it has more than ${figures.limit} bytes`;
  return new LimitError("LIMIT_FILE_BYTES", message, figures);
}
