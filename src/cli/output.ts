/**
 * Standard output and standard error of the commands that end when their reader does. Writes in
 * order, holds little, and ends quietly when the reader has gone away (EPIPE).
 *
 * Not for the broker, which must go on when nobody reads: it has log-sink.ts.
 */

import { ConfigError, LimitError, RejectedError, ServiceError } from "../errors.ts";
import { exitCodeOf, isOperatingError, type OperatingError } from "./exit-codes.ts";
import { printable } from "./printable-text.ts";

/** Bytes (or characters) on their way to a reader; beyond it the command waits for the reader. */
const PENDING_MAX = 64 * 1024;

/** A stream with a reader at its end. */
export class OutputStream {
  readonly #stream: NodeJS.WriteStream;
  readonly #closed = Promise.withResolvers<void>();
  #pending = 0;
  #isClosed = false;
  #waiting: (() => void)[] = [];

  /** @param stream process.stdout or process.stderr */
  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
    // The callback of each write hears of it as well; without a listener it would be uncaught.
    stream.on("error", () => this.#close());
  }

  /** True on a terminal, where people read. */
  get isTerminal(): boolean {
    return this.#stream.isTTY === true;
  }

  /** True once the reader has gone away; nothing is written any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Resolves when the reader has gone away, which shows only at a write. */
  closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Writes text or bytes; the bytes must not change until then. Await ready() between large ones. */
  write(chunk: string | Uint8Array): void {
    if (this.#isClosed || chunk.length === 0) return;
    const { length } = chunk;
    this.#pending += length;
    this.#stream.write(chunk, (error) => {
      this.#pending -= length;
      if (error) this.#close();
      else this.#wake();
    });
  }

  /** Resolves when there is room for more, or nobody reads. */
  async ready(): Promise<void> {
    while (this.#pending > PENDING_MAX && !this.#isClosed) await this.#nextWrite();
  }

  /** Resolves when all is written, or nobody reads. */
  async drained(): Promise<void> {
    while (this.#pending > 0 && !this.#isClosed) await this.#nextWrite();
  }

  #nextWrite(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #close(): void {
    this.#isClosed = true;
    this.#closed.resolve();
    this.#wake();
  }
}

/** Where results go. */
export const stdout: OutputStream = new OutputStream(process.stdout);

/** Where everything else goes. */
export const stderr: OutputStream = new OutputStream(process.stderr);

/** Tells something beside the results: `seqbus: …`, one line. */
export function warn(message: string): void {
  stderr.write(`seqbus: ${printable(message)}\n`);
}

/**
 * Tells why a command ends.
 * @param asJson tells programs as well, on standard output: `{"error":{…}}`
 * @returns the exit code. An error of operation takes one line; a bug shows its stack
 */
export function reportError(error: unknown, asJson: boolean): number {
  if (isOperatingError(error)) {
    if (asJson) stdout.write(`${JSON.stringify({ error: fieldsOf(error) })}\n`);
    warn(error instanceof ServiceError ? serviceFailure(error) : error.message);
  } else {
    const stack = error instanceof Error ? error.stack : String(error);
    stderr.write(`seqbus: This is a bug of seqbus, please report it\n${stack}\n`);
  }
  return exitCodeOf(error);
}

/**
 * What programs match on, and the place in a policy that is wrong; where messages were refused, what
 * became of them and of the others.
 */
function fieldsOf(error: OperatingError): object {
  const { code, message } = error;
  const isDenial = error instanceof RejectedError || error instanceof LimitError;
  const { path, line, column } = error instanceof ConfigError ? error : {};
  return { code, message, path, line, column, receipt: isDenial ? error.receipt : undefined };
}

function serviceFailure({ topic, code, message }: ServiceError): string {
  return `${topic} failed: ${code}: ${message}`;
}

/** Styles of text, as numbers of SGR. */
const STYLES = { bold: 1, dim: 2, red: 31, green: 32, cyan: 36 } as const;

/**
 * Colours text for standard output.
 * @returns the text as it is where no terminal shows it, or the environment variable NO_COLOR is set
 * @see https://no-color.org
 */
export function styled(style: keyof typeof STYLES, text: string): string {
  const isPlain = !stdout.isTerminal || (process.env["NO_COLOR"] ?? "") !== "";
  return isPlain ? text : `\u001b[${STYLES[style]}m${text}\u001b[0m`;
}
