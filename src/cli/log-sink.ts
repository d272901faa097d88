/**
 * Lines from the broker to whoever reads its standard output and standard error. Nobody may: a
 * sink that is closed, full, or a terminal that was stopped with Ctrl-S never blocks or ends the
 * broker. What cannot be written is dropped, and counted in the next line that can.
 */

import { closeSync, constants, openSync, writeSync } from "node:fs";

/** Characters on their way to a slow reader; more are dropped. */
const PENDING_MAX = 64 * 1024;

/** Takes lines without ever blocking or throwing. */
export class LogSink {
  readonly #stream: NodeJS.WriteStream;
  /** A terminal, opened a second time, so that O_NONBLOCK holds for us and nobody else. */
  readonly #terminal: number | undefined;
  #pending = 0;
  #lost = 0;
  #drained: (() => void) | undefined;

  /**
   * @param stream process.stdout or process.stderr
   * @param fd its number, 1 or 2; borrowed
   */
  constructor(stream: NodeJS.WriteStream, fd: number) {
    this.#stream = stream;
    this.#terminal = stream.isTTY ? reopenTerminal(fd) : undefined;
    // A reader that goes away is no reason to end.
    stream.on("error", () => {});
  }

  /** Writes one line; the text is printable and has no line end. */
  write(line: string): void {
    const lost = this.#lost > 0 ? `(${this.#lost} lines lost: nobody read them)\n` : "";
    const text = `${lost}${line}\n`;
    if (this.#send(text)) this.#lost = 0;
    else this.#lost += 1;
  }

  /** Resolves when everything has been written or has failed. It may never do so. */
  drained(): Promise<void> {
    if (this.#pending === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#drained = resolve;
    });
  }

  /** Closes what the sink opened itself. */
  close(): void {
    if (this.#terminal !== undefined) closeSync(this.#terminal);
  }

  #send(text: string): boolean {
    if (this.#terminal !== undefined) return sendAtOnce(this.#terminal, text);
    if (this.#pending + text.length > PENDING_MAX) return false;
    this.#pending += text.length;
    // Bun writes to pipes and sockets without blocking and goes on when they have room.
    this.#stream.write(text, () => {
      this.#pending -= text.length;
      if (this.#pending === 0) this.#drained?.();
    });
    return true;
  }
}

function reopenTerminal(fd: number): number | undefined {
  const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants;
  try {
    return openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY);
  } catch {
    // A terminal of somebody else, after su(1). Writing to it the usual way may block.
    return undefined;
  }
}

/** @returns false where the terminal takes nothing now, or is gone */
function sendAtOnce(terminal: number, text: string): boolean {
  try {
    writeSync(terminal, text);
    return true;
  } catch {
    return false;
  }
}
