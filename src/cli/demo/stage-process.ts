/** One process of the demo: what it prints, line by line, and its end. */

import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import type { Subprocess } from "bun";
import { FailedCheck } from "./checks.ts";

type Child = Subprocess<"ignore", "pipe", "pipe">;

/** A running seqbus command. */
export class StageProcess {
  readonly name: string;
  readonly pid: number;
  readonly #child: Child;
  readonly #signal: AbortSignal;
  readonly #output: AsyncIterator<string>;
  readonly #log: AsyncIterator<string>;

  /**
   * @param command started in a session of its own, so that Ctrl-C reaches the director alone, who
   *   then ends all others in order
   * @param signal ends every wait; its reason is not told
   */
  constructor(name: string, command: string[], cwd: string, signal: AbortSignal) {
    this.name = name;
    this.#signal = signal;
    this.#child = Bun.spawn(command, {
      cwd,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    this.pid = this.#child.pid;
    this.#output = linesOf(this.#child.stdout);
    this.#log = linesOf(this.#child.stderr);
  }

  /**
   * The next line of standard output.
   * @throws {FailedCheck} where the process ended instead, or it took too long
   */
  async nextLine(): Promise<string> {
    const line = await this.#before(this.#output.next(), "say something");
    if (line.done !== true) return line.value;
    const reason = await this.#before(this.#log.next(), "end");
    throw new FailedCheck(
      `The demo failed: ${this.name} ended early: ${reason.value ?? "no reason"}`,
    );
  }

  /** The next line of standard error; undefined after the last. */
  async nextLogLine(): Promise<string | undefined> {
    const line = await this.#before(this.#log.next(), "log something");
    return line.done === true ? undefined : line.value;
  }

  /** What is left of standard output, once the process has closed it. */
  async remainingLines(): Promise<string[]> {
    const lines: string[] = [];
    for (;;) {
      const line = await this.#before(this.#output.next(), "end");
      if (line.done === true) return lines;
      lines.push(line.value);
    }
  }

  /** Asks the process to end cleanly. */
  terminate(): void {
    this.#child.kill("SIGTERM");
  }

  /** Waits for the end. @returns the exit code; that of a signal is 128 and more */
  exitCode(): Promise<number> {
    return this.#before(this.#child.exited, "end");
  }

  /** Ends the process if it still runs, and waits until it is gone. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }

  async #before<T>(work: Promise<T>, what: string): Promise<T> {
    const { promise, reject } = Promise.withResolvers<never>();
    const give = () =>
      reject(new FailedCheck(`The demo failed: ${this.name} did not ${what} in time`));
    if (this.#signal.aborted) give();
    this.#signal.addEventListener("abort", give);
    try {
      return await Promise.race([work, promise]);
    } finally {
      this.#signal.removeEventListener("abort", give);
    }
  }
}

function linesOf(stream: ReadableStream<Uint8Array>): AsyncIterator<string> {
  const input = Readable.fromWeb(stream as Parameters<typeof Readable.fromWeb>[0]);
  return createInterface({ input })[Symbol.asyncIterator]();
}
