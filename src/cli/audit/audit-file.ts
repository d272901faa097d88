/**
 * A file that audit lines are appended to, from the runtime's threads: one operation at a time, so
 * that a disk that hangs holds up one thread and never the broker. Lines that are taken wait, up to
 * a bound, until they can be written; the file never has half a line with another one behind it.
 *
 * Not sonic-boom, which pino brings along: after a reopen that failed, its next one closes the same
 * fd number twice (4.2.1), and that number may by then be a client's.
 */

import { close, constants, open, openSync, write } from "node:fs";
import { SyscallError } from "../../errors.ts";
import { printable } from "../printable-text.ts";
import type { AuditSink } from "./audit-sink.ts";

/** Bytes held for a file that cannot be written now: some thousand lines. Guess. */
const HELD_BYTES_MAX = 1024 * 1024;

/** Milliseconds between two tries to write to a file that failed, such as a full disk. */
const RETRY_MS = 100;

/** O_NONBLOCK, since the path may be a FIFO or a terminal that nobody reads. */
const OPEN_FLAGS =
  constants.O_WRONLY |
  constants.O_APPEND |
  constants.O_CREAT |
  constants.O_NONBLOCK |
  constants.O_NOCTTY;

/** The log tells who uses what: not for everybody. */
const MODE = 0o640;

const LINE_FEED = 0x0a;

/** What node:fs reports. */
type FileError = NodeJS.ErrnoException;

/** An audit log in a file. */
export class AuditFile implements AuditSink {
  readonly #path: string;
  readonly #report: (message: string) => void;
  /** Owned. */
  #fd: number;
  /** A write(2) or open(2) is on its way in another thread. */
  #isBusy = false;
  #mustReopen = false;
  #isClosing = false;
  /** The last write failed with this code; retry comes from a timer. */
  #trouble: string | undefined;
  #retry: NodeJS.Timeout | undefined;
  /** Lines behind those of #batch. */
  #waiting: string[] = [];
  #waitingBytes = 0;
  /** What is being written, and how much of it has been. */
  #batch = Buffer.alloc(0);
  #written = 0;
  readonly #onDrained: (() => void)[] = [];

  /**
   * open(2): appends to the file, or makes it with mode 0640. Blocks, so: before serving.
   * @param report told in words when writing or reopening fails, and when it goes on
   * @throws {SyscallError} where it cannot be opened
   */
  constructor(path: string, report: (message: string) => void) {
    this.#path = path;
    this.#report = (message) => report(printable(message));
    this.#fd = openFile(path);
  }

  /** AuditSink. What was taken is lost only with the process. */
  offer(line: string): boolean {
    const bytes = Buffer.byteLength(line) + 1;
    const held = this.#batch.length - this.#written + this.#waitingBytes;
    if (this.#isClosing || held + bytes > HELD_BYTES_MAX) return false;
    this.#waiting.push(line);
    this.#waitingBytes += bytes;
    if (this.#trouble === undefined) this.#goOn();
    return true;
  }

  /**
   * Opens the path anew, after a log rotation has moved the file away: lines that are not written
   * yet go to the new file. Where that fails, the old file stays in use.
   */
  reopen(): void {
    if (this.#isClosing) return;
    this.#mustReopen = true;
    this.#goOn();
  }

  /** AuditSink */
  drained(): Promise<void> {
    if (!this.#isBusy && !this.#hasLines) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onDrained.push(resolve);
    });
  }

  /** Takes no more lines, and closes the file when the operation on its way is over. */
  close(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#goOn();
  }

  get #hasLines(): boolean {
    return this.#written < this.#batch.length || this.#waiting.length > 0;
  }

  /** Starts the next operation, if none is on its way. */
  #goOn(): void {
    if (this.#isBusy) return;
    clearTimeout(this.#retry);
    if (this.#isClosing) this.#closeNow();
    else if (this.#mustReopen) this.#startReopen();
    else if (this.#hasLines) this.#startWrite();
    else this.#settle();
  }

  #startWrite(): void {
    if (this.#written === this.#batch.length) {
      this.#batch = Buffer.from(`${this.#waiting.join("\n")}\n`);
      this.#written = 0;
      this.#waiting = [];
      this.#waitingBytes = 0;
    }
    this.#isBusy = true;
    const left = this.#batch.length - this.#written;
    write(this.#fd, this.#batch, this.#written, left, null, (error, bytes) => {
      this.#isBusy = false;
      if (error !== null) return this.#suffer(error);
      this.#written += bytes;
      this.#recover();
      this.#goOn();
    });
  }

  #startReopen(): void {
    this.#mustReopen = false;
    this.#isBusy = true;
    open(this.#path, OPEN_FLAGS, MODE, (error, fd) => {
      this.#isBusy = false;
      if (error === null) this.#replaceFd(fd);
      else this.#report(`${describe("reopen", this.#path, error)}; the old file stays in use`);
      this.#goOn();
    });
  }

  /** The new file begins with a whole line, also where the old one has part of it. */
  #replaceFd(fd: number): void {
    closeQuietly(this.#fd);
    this.#fd = fd;
    if (this.#written === 0) return;
    this.#written = this.#batch.lastIndexOf(LINE_FEED, this.#written - 1) + 1;
  }

  #suffer(error: FileError): void {
    const code = error.code ?? error.message;
    // Somebody reads slowly: that is not worth a word.
    const isNews = this.#trouble !== code && code !== "EAGAIN";
    if (isNews) this.#report(describe("write", this.#path, error));
    this.#trouble = code;
    if (this.#isClosing || this.#mustReopen) return this.#goOn();
    this.#retry = setTimeout(() => this.#goOn(), RETRY_MS);
    this.#retry.unref();
  }

  #recover(): void {
    if (this.#trouble !== undefined && this.#trouble !== "EAGAIN") {
      this.#report(`Can write audit log "${this.#path}" again`);
    }
    this.#trouble = undefined;
  }

  #closeNow(): void {
    if (this.#fd < 0) return;
    closeQuietly(this.#fd);
    this.#fd = -1;
    this.#settle();
  }

  #settle(): void {
    for (const resolve of this.#onDrained.splice(0)) resolve();
  }
}

/** @throws {SyscallError} */
function openFile(path: string): number {
  try {
    return openSync(path, OPEN_FLAGS, MODE);
  } catch (error) {
    const { code = "EIO", errno = 0 } = error as FileError;
    const fields = { code, errno: Math.abs(errno), syscall: "open", path };
    throw new SyscallError(describe("open", path, error as FileError), fields, { cause: error });
  }
}

/** close(2) in another thread, since a network disk may hang there too. */
function closeQuietly(fd: number): void {
  close(fd, () => {
    // The fd is gone whatever close(2) says, and the lines it might speak of are gone too.
  });
}

function describe(verb: string, path: string, error: FileError): string {
  return `Cannot ${verb} audit log "${path}": ${error.message}`;
}
