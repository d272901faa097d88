/**
 * Received files that a command saves, as --save-fds and --save-max say, and what it tells of them.
 * The same for all commands that save.
 */

import type { Message } from "../client/message.ts";
import type { FileLimits } from "./file-pieces.ts";
import { FileSaver, type SaveOutcome } from "./file-saver.ts";
import { parsePositive } from "./number-option.ts";

/** Bytes of a file that is saved or printed, unless told otherwise. Guess: a large image, or a log. */
const FILE_BYTES_MAX_DEFAULT = 1024 * 1024 * 1024;

/** Milliseconds that a piece of a file or pipe is waited for. Guess. */
const FILE_IDLE_MS = 10_000;

/** Options of such a command, as commander has them. */
export interface SaveOptions {
  /** Directory. */
  readonly saveFds?: string;
  readonly saveMax?: string;
}

/** What became of one file. */
export interface SavedFile {
  /** Its place in the message. */
  readonly index: number;
  readonly outcome: SaveOutcome;
}

/** Bounds of each file. @throws {ArgumentError} ARGUMENT_OPTION */
export function fileLimits({ saveMax }: SaveOptions): FileLimits {
  const bytesMax = parsePositive(saveMax, "--save-max") ?? FILE_BYTES_MAX_DEFAULT;
  return { bytesMax, idleMs: FILE_IDLE_MS };
}

/**
 * Opens the directory that the options name.
 * @returns the caller's to dispose of; undefined where they name none
 * @throws {ArgumentError} ARGUMENT_OPTION; what FileSaver throws
 */
export function openSaver(options: SaveOptions): FileSaver | undefined {
  const limits = fileLimits(options);
  const { saveFds } = options;
  return saveFds === undefined ? undefined : new FileSaver(saveFds, limits);
}

/** Saves the files of a message, which are taken from it. @param saver undefined: saves none */
export async function saveAll(
  { fds }: Message,
  saver: FileSaver | undefined,
): Promise<SavedFile[]> {
  const outcomes: SavedFile[] = [];
  for (let index = 0; saver !== undefined && index < fds.length; index += 1) {
    outcomes.push({ index, outcome: await saver.save(fds.take(index), index) });
  }
  return outcomes;
}

/** For people. @param index of the file in its message */
export function notSavedWords(index: number, why: string): string {
  return `File ${index} of the message was not saved: ${why}`;
}
