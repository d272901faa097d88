/**
 * File descriptors that came with a message. Each is closed exactly once: by whoever took it, or
 * by the library if nobody did. Nothing is made of an fd before the program asks for it.
 */

import type { Stats } from "node:fs";
import type { BunFile } from "bun";
import { DataError, SyscallError } from "../errors.ts";
import type { FoundFdKind } from "../fd-kinds.ts";
import { fdKind } from "../ffi/fd-kind.ts";
import { closeFd, duplicateFd } from "../ffi/owned-fd.ts";
import { readAll, statOf, streamOf } from "./fd-reader.ts";
import { LentFd } from "./lent-fd.ts";
import { RECEIVED_FILE_BYTES_MAX_DEFAULT } from "./limits.ts";

/** Closes taken fds that the program lost without closing them. */
const LOST_FDS = new FinalizationRegistry<LentFd>((fd) => fd.close());

/** Closes fds of messages that the program dropped without taking them. */
const UNTAKEN_FDS = new FinalizationRegistry<Slot[]>(closeAll);

/** What is being read must not be collected, and so closed, when the program keeps the promise alone. */
const READING = new Set<ReceivedFd>();

/** One fd of a message: a number, its owner once somebody asked for it, or nothing once taken. */
type Slot = number | LentFd | undefined;

/** Choices for reading all of a received file. */
export interface ReadFileOptions {
  /** A file with more bytes is an error. Default 64 MiB: a stranger's pipe may never end. */
  readonly bytesMax?: number;
}

/**
 * One received fd: of its message, which closes it, or taken out of it and so the program's, which
 * closes it with `using` or close(). One that the program loses is closed by the garbage collector.
 * @example
 * for (const file of message.fds) console.log(await file.text());
 */
export class ReceivedFd implements Disposable {
  readonly #fd: LentFd;
  /** The fds it is one of; they must not be collected, and so closed, before it. */
  #siblings: ReceivedFds | undefined;
  #hasBunFile = false;

  /**
   * Made by the library.
   * @param fd handed over; with `siblings`, shared with them
   */
  constructor(fd: LentFd, siblings?: ReceivedFds) {
    this.#fd = fd;
    this.#siblings = siblings;
    if (siblings === undefined) LOST_FDS.register(this, fd, this);
  }

  /**
   * The number, for calls that borrow it, such as another publish(). It is good until it is closed.
   * @throws {DataError} DATA_FDS_TAKEN afterwards
   */
  get fd(): number {
    return this.#fd.number;
  }

  /**
   * What kind of file it is, in the words of docs/policy.md; "other" for what has no name there. Asks
   * the kernel at each call, 0.2 to 4 us, and never the file's server.
   * @throws {DataError} DATA_FDS_TAKEN once taken or closed
   */
  get kind(): FoundFdKind {
    return fdKind(this.fd);
  }

  /** False once taken or closed, here or by the message. */
  get isOpen(): boolean {
    return this.#fd.isOpen;
  }

  /** True while its message closes it: it was not taken out with `fds.take()`. */
  get isOfMessage(): boolean {
    return this.#siblings !== undefined;
  }

  /**
   * Gives the number away: from here on the caller must close it.
   * @throws {DataError} DATA_FDS_TAKEN
   */
  take(): number {
    const fd = this.#fd.release();
    this.#forget();
    return fd;
  }

  /**
   * fcntl(2) F_DUPFD_CLOEXEC: a second fd for the same open file, with the same position.
   * @returns the caller's, and of no message
   * @throws {DataError} DATA_FDS_TAKEN
   * @throws {SyscallError} EMFILE
   */
  dup(): ReceivedFd {
    return new ReceivedFd(new LentFd(duplicateFd(this.fd)));
  }

  /**
   * fstat(2) on another thread, since the file's server may be slow or hostile.
   * @returns as fs.fstat() does: size in bytes, isFile(), isFIFO() and so on
   * @throws {DataError} DATA_FDS_TAKEN
   * @throws {SyscallError} EIO and others of the file's server
   */
  stat(): Promise<Stats> {
    return statOf(this.#fd);
  }

  /**
   * Reads all it holds: a regular file from its start, whatever its position, which is left alone;
   * anything else until its end.
   * @throws {LimitError} LIMIT_FILE_BYTES
   * @throws {DataError} DATA_FDS_TAKEN, also where it is closed meanwhile
   * @throws {SyscallError} EISDIR, EBADF (not open for reading), EIO and others
   */
  async bytes(options: ReadFileOptions = {}): Promise<Uint8Array> {
    READING.add(this);
    try {
      return await readAll(this.#fd, options.bytesMax ?? RECEIVED_FILE_BYTES_MAX_DEFAULT);
    } finally {
      READING.delete(this);
    }
  }

  /** The same as text in UTF-8; what is not UTF-8 becomes U+FFFD. */
  async text(options: ReadFileOptions = {}): Promise<string> {
    return new TextDecoder().decode(await this.bytes(options));
  }

  /**
   * All it holds as a stream, read as by bytes(), without a limit. The stream takes the fd: it is
   * closed at the stream's end, by cancel(), and where the stream fails or is lost.
   * @throws {DataError} DATA_FDS_TAKEN; the stream fails with what bytes() throws
   */
  stream(): ReadableStream<Uint8Array> {
    return streamOf(new LentFd(this.take()));
  }

  /**
   * A Bun file on the number. It does not own it: close this object when you are done, since once
   * file() was called the garbage collector will not, which cannot see what Bun reads.
   *
   * Bun reads from the position of the open file and moves it, and the position is shared by all who
   * received the file. Use this for files that are yours alone, and bytes(), text() or stream()
   * otherwise.
   * @throws {DataError} DATA_FDS_TAKEN
   */
  file(): BunFile {
    const file = Bun.file(this.fd);
    this.#hasBunFile = true;
    LOST_FDS.unregister(this);
    return file;
  }

  /** Closes it, as soon as a read that is under way has ended. Does nothing the second time. */
  close(): void {
    this.#fd.close();
    this.#forget();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** For ReceivedFds: it is the program's now. */
  detach(): void {
    this.#siblings = undefined;
    if (!this.#hasBunFile) LOST_FDS.register(this, this.#fd, this);
  }

  #forget(): void {
    this.#siblings = undefined;
    LOST_FDS.unregister(this);
  }
}

/** The fds of one message. Those that nobody takes are closed by the library. */
export class ReceivedFds implements Disposable {
  /** Of a message without fds. */
  static readonly NONE: ReceivedFds = new ReceivedFds([]);
  readonly #fds: Slot[];
  #asked: Map<number, ReceivedFd> | undefined;

  /** @param fds handed over */
  constructor(fds: number[]) {
    this.#fds = fds;
    if (fds.length > 0) UNTAKEN_FDS.register(this, this.#fds, this);
  }

  /** How many came with the message, taken or not. */
  get length(): number {
    return this.#fds.length;
  }

  /**
   * One fd, for as long as the message has it.
   * @param index 0 for the first
   * @returns the same object at each call; undefined where it was taken or closed, or never was
   */
  at(index: number): ReceivedFd | undefined {
    const slot = this.#fds[index];
    if (slot === undefined) return undefined;
    if (typeof slot !== "number") return slot.isOpen ? this.#asked?.get(index) : undefined;
    const fd = new LentFd(slot);
    const file = new ReceivedFd(fd, this);
    this.#fds[index] = fd;
    this.#asked ??= new Map();
    this.#asked.set(index, file);
    return file;
  }

  /** Those that nobody took or closed, in order. */
  *[Symbol.iterator](): Generator<ReceivedFd, void, undefined> {
    for (let index = 0; index < this.#fds.length; index += 1) {
      const file = this.at(index);
      if (file !== undefined) yield file;
    }
  }

  /**
   * Takes one fd out; it is the caller's from here on, and stays open when the message is gone.
   * @param index 0 for the first
   * @throws {DataError} DATA_FDS_TAKEN where it was taken or closed, or never was
   */
  take(index: number): ReceivedFd {
    const slot = this.#fds[index];
    if (typeof slot === "number") {
      this.#fds[index] = undefined;
      return new ReceivedFd(new LentFd(slot));
    }
    const file = this.at(index);
    if (file === undefined) {
      const why = index < this.#fds.length ? "it was taken or closed" : "there is none";
      throw new DataError("DATA_FDS_TAKEN", `Cannot take received fd ${index}: ${why}`);
    }
    this.#fds[index] = undefined;
    this.#asked?.delete(index);
    file.detach();
    return file;
  }

  /**
   * Copies for a second subscription that gets the same message. Nothing here is taken.
   * @returns fewer, down to none, where this process may hold no more
   */
  duplicate(): ReceivedFds {
    if (this.#fds.length === 0) return this;
    const duplicates: number[] = [];
    try {
      for (const slot of this.#fds) {
        if (typeof slot === "number") duplicates.push(duplicateFd(slot));
        else if (slot?.isOpen) duplicates.push(duplicateFd(slot.number));
      }
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
    }
    return new ReceivedFds(duplicates);
  }

  /** Closes those that nobody took. */
  close(): void {
    if (this.#fds.length === 0) return;
    UNTAKEN_FDS.unregister(this);
    closeAll(this.#fds);
    this.#asked = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Closes what is left in the array and empties its places, so nothing is closed twice. */
function closeAll(slots: Slot[]): void {
  for (let index = 0; index < slots.length; index += 1) {
    const slot = slots[index];
    slots[index] = undefined;
    if (typeof slot === "number") closeFd(slot);
    else slot?.close();
  }
}
