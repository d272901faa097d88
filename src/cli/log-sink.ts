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
  readonly #onDrained: (() => void)[] = [];

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
    const lost = this.#lost;
    const notice = lost > 0 ? `(${lost} lines lost: nobody read them)\n` : "";
    const onLost = (): void => {
      this.#lost += lost + 1;
    };
    this.#lost = 0;
    if (!this.#send(`${notice}${line}\n`, onLost)) onLost();
  }

  /**
   * Writes one line of somebody who counts losses himself.
   * @param line printable, without its end
   * @param onLost called later, where the line was taken and could not be written after all
   * @returns false where it cannot be taken
   */
  offer(line: string, onLost: () => void): boolean {
    return this.#send(`${line}\n`, onLost);
  }

  /** Resolves when everything has been written or has failed. It may never do so. */
  drained(): Promise<void> {
    if (this.#pending === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onDrained.push(resolve);
    });
  }

  /** Closes what the sink opened itself. */
  close(): void {
    if (this.#terminal !== undefined) closeSync(this.#terminal);
  }

  #send(text: string, onLost: () => void): boolean {
    if (this.#terminal !== undefined) return sendAtOnce(this.#terminal, text);
    if (this.#pending + text.length > PENDING_MAX) return false;
    this.#pending += text.length;
    // Bun writes to pipes and sockets without blocking and goes on when they have room.
    this.#stream.write(text, (error) => {
      this.#pending -= text.length;
      if (error) onLost();
      if (this.#pending > 0) return;
      for (const resolve of this.#onDrained.splice(0)) resolve();
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
