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
  rmSync,
  unlink,
  write,
} from "node:fs";
import { promisify } from "node:util";
import type { ReceivedFd } from "../client/received-fds.ts";
import type { FoundFdKind } from "../fd-kinds.ts";
import { isOperatingError } from "./exit-codes.ts";
import { fileError } from "./file-error.ts";
import { type FileLimits, piecesOf } from "./file-pieces.ts";

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

/** What became of one file: its name in the directory and its length, or why it is not there. */
export type SaveOutcome =
  | { readonly saved: string; readonly savedBytes: number }
  | { readonly notSaved: string };

/** Saves into one directory. Works with `using`. */
export class FileSaver implements Disposable {
  readonly #directoryFd: number;
  readonly #limits: FileLimits;
  #number: number;
  /** Name of the file that is being copied. */
  #unfinished: string | undefined;

  /**
   * Opens the directory, and makes it where it is missing. Numbers go on from those that are there.
   * @param limits a file that is beyond them is not kept
   * @throws errors of node:fs
   */
  constructor(path: string, limits: FileLimits) {
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

  /** Closes the directory. A file that is not copied to its end by then is not left behind. */
  [Symbol.dispose](): void {
    if (this.#unfinished !== undefined) rmSync(this.#pathOf(this.#unfinished), { force: true });
    this.#unfinished = undefined;
    closeSync(this.#directoryFd);
  }

  async #copy(file: ReceivedFd, index: number): Promise<SaveOutcome> {
    const name = `${String(this.#number).padStart(NUMBER_DIGITS, "0")}-${index}`;
    const target = await this.#create(name);
    this.#unfinished = name;
    try {
      const savedBytes = await copyPieces(file, target, this.#limits);
      this.#unfinished = undefined;
      return { saved: name, savedBytes };
    } catch (error) {
      // Whoever finds a file here may take it for a whole one.
      if (this.#unfinished !== undefined) await unlinkAsync(this.#pathOf(name));
      this.#unfinished = undefined;
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

async function copyPieces(file: ReceivedFd, target: number, limits: FileLimits): Promise<number> {
  let bytes = 0;
  for await (const piece of piecesOf(file, limits)) {
    bytes += piece.byteLength;
    for (let at = 0; at < piece.byteLength; ) {
      at += (await writeAsync(target, piece, at, piece.byteLength - at)).bytesWritten;
    }
  }
  return bytes;
}
