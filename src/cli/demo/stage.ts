/**
 * The private directory of the demo and the processes in it. At its end nothing is left of either,
 * whatever happened before.
 */

import { chmodSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OWN_COMMAND } from "../own-command.ts";
import { StageProcess } from "./stage-process.ts";

/** Users of the demo may go through, not look around; the socket and the policy decide the rest. */
const SHARED_DIRECTORY_MODE = 0o711;

/**
 * This very command, started anew. Bun must not read what lies in a temporary directory: a
 * bunfig.toml there could run code.
 */

/** A directory and its processes. */
export class Stage {
  readonly directory: string;
  readonly #signal: AbortSignal;
  readonly #processes: StageProcess[] = [];

  /**
   * @param signal ends every wait for a process
   * @param isShared other users must get at the files
   */
  constructor(signal: AbortSignal, isShared: boolean) {
    this.#signal = signal;
    this.directory = mkdtempSync(join(tmpdir(), "seqbus-demo-"));
    if (isShared) chmodSync(this.directory, SHARED_DIRECTORY_MODE);
  }

  /** Path of a file in the directory. */
  path(name: string): string {
    return join(this.directory, name);
  }

  /**
   * Starts `seqbus WORDS…` in the directory.
   * @param name for messages
   */
  start(name: string, words: readonly string[]): StageProcess {
    const child = new StageProcess(name, [...OWN_COMMAND, ...words], this.directory, this.#signal);
    this.#processes.push(child);
    return child;
  }

  /** True where the directory is still there. */
  get exists(): boolean {
    return existsSync(this.directory);
  }

  /** Ends all processes, waits until they are gone, and removes the directory. */
  async clear(): Promise<void> {
    await Promise.all(this.#processes.map((child) => child.kill()));
    rmSync(this.directory, { recursive: true, force: true });
  }
}
