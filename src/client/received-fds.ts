/**
 * File descriptors that came with a message. Each is closed exactly once: by whoever took it, or
 * by the library if nobody did.
 */

import { DataError, SyscallError } from "../errors.ts";
import { closeFd, duplicateFd, OwnedFd } from "../ffi/owned-fd.ts";

/** Closes taken fds that the program lost without closing them. */
const LOST_FDS = new FinalizationRegistry<OwnedFd>((owned) => owned.close());

/** Closes fds of messages that the program dropped without taking them. */
const UNTAKEN_FDS = new FinalizationRegistry<(number | undefined)[]>(closeAll);

/** One received fd, owned by whoever holds this object. Works with `using`. */
export class ReceivedFd {
  readonly #owned: OwnedFd;

  /** @param owned handed over */
  constructor(owned: OwnedFd) {
    this.#owned = owned;
    LOST_FDS.register(this, owned, this);
  }

  /**
   * The number, for calls that borrow it. It is good until close() or release().
   * @throws {DataError} DATA_FDS_TAKEN afterwards
   */
  get fd(): number {
    return this.#owned.number;
  }

  /** Gives the number away: from here on the caller must close it. */
  release(): number {
    LOST_FDS.unregister(this);
    return this.#owned.release();
  }

  /** Closes it; does nothing the second time. */
  close(): void {
    LOST_FDS.unregister(this);
    this.#owned.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The fds of one message. Those that nobody takes are closed by the library. */
export class ReceivedFds {
  /** Of a message without fds. */
  static readonly NONE: ReceivedFds = new ReceivedFds([]);
  readonly #fds: (number | undefined)[];

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
   * Takes one fd out; it is the caller's from here on.
   * @param index 0 for the first
   * @throws {DataError} DATA_FDS_TAKEN where it was taken or closed, or never was
   */
  take(index: number): ReceivedFd {
    const fd = this.#fds[index];
    if (fd === undefined) {
      const why = index < this.#fds.length ? "it was taken or closed" : "there is none";
      throw new DataError("DATA_FDS_TAKEN", `Cannot take received fd ${index}: ${why}`);
    }
    this.#fds[index] = undefined;
    return new ReceivedFd(OwnedFd.adopt(fd, { allowStandard: true }));
  }

  /**
   * Copies for a second subscription that gets the same message. Nothing here is taken.
   * @returns fewer, down to none, where this process may hold no more
   */
  duplicate(): ReceivedFds {
    if (this.#fds.length === 0) return this;
    const duplicates: number[] = [];
    try {
      for (const fd of this.#fds) if (fd !== undefined) duplicates.push(duplicateFd(fd));
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
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Closes what is left in the array and empties its places, so nothing is closed twice. */
function closeAll(fds: (number | undefined)[]): void {
  for (let index = 0; index < fds.length; index += 1) {
    const fd = fds[index];
    fds[index] = undefined;
    if (fd !== undefined) closeFd(fd);
  }
}
