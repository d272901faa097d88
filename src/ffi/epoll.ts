/**
 * epoll(7), level-triggered unless EPOLLET is asked for. An event carries a token that the caller
 * chose, never an fd: by the time an event is looked at, its fd may have been closed and reused.
 */

import type { Pointer } from "bun:ffi";
import { assert } from "../assert.ts";
import * as kernel from "./constants.ts";
import { assertFd } from "./fd-number.ts";
import { libc } from "./libc.ts";
import { OwnedFd } from "./owned-fd.ts";
import { PinnedBuffer } from "./pinned-buffer.ts";
import { epollEventLayout } from "./structs.ts";
import { INTERRUPTED, lastErrno, syscallError } from "./syscall-result.ts";

const LAYOUT = epollEventLayout(process.arch);
/** From one event to the next, and from the start of an event to its token, in u32 words. */
const EVENT_WORDS = LAYOUT.bytes >>> 2;
const TOKEN_WORD = LAYOUT.dataOffset >>> 2;

/** Guess, untuned: bounds the memory of one wait(), not the number of fds. */
const EVENTS_MAX_DEFAULT = 256;

/** One epoll instance with room for the events of one wait(). */
export class Epoll {
  readonly #fd: OwnedFd;
  readonly #eventsMax: number;
  readonly #ready: PinnedBuffer;
  readonly #change = new PinnedBuffer(LAYOUT.bytes);
  #count = 0;

  /**
   * epoll_create1(2), close-on-exec.
   * @param eventsMax most events that one wait() returns, 1 or more; others come with the next
   * @throws {SyscallError} EMFILE, ENFILE, ENOMEM
   */
  constructor(eventsMax: number = EVENTS_MAX_DEFAULT) {
    assert(eventsMax >= 1, "wait() can return an event");
    this.#eventsMax = eventsMax;
    this.#ready = new PinnedBuffer(eventsMax * LAYOUT.bytes);
    const fd = libc.epoll_create1(kernel.EPOLL_CLOEXEC);
    if (fd < 0) throw syscallError("epoll_create1", lastErrno());
    this.#fd = OwnedFd.adopt(fd, { allowStandard: true });
  }

  /**
   * epoll_ctl(2) EPOLL_CTL_ADD.
   * @param fd borrowed; closing its last duplicate removes it too
   * @param events EPOLLIN, EPOLLOUT and so on; EPOLLERR and EPOLLHUP always come
   * @param token u32 that its events will carry
   * @throws {ArgumentError} ARGUMENT_FD
   * @throws {SyscallError} EEXIST (added already), EPERM (a regular file), ENOSPC, ENOMEM
   */
  add(fd: number, events: number, token: number): void {
    this.#control(kernel.EPOLL_CTL_ADD, fd, events, token);
  }

  /** The fd of the instance itself, borrowed: it is readable while events wait. */
  get number(): number {
    return this.#fd.number;
  }

  /**
   * epoll_ctl(2) EPOLL_CTL_MOD: new events and a new token for an fd that was added.
   * @throws {ArgumentError} ARGUMENT_FD
   * @throws {SyscallError} ENOENT (not added)
   */
  modify(fd: number, events: number, token: number): void {
    this.#control(kernel.EPOLL_CTL_MOD, fd, events, token);
  }

  /**
   * epoll_ctl(2) EPOLL_CTL_DEL. Do this before the fd is closed: as long as a duplicate is open
   * somewhere, a closed fd keeps reporting. Events of the last wait() stay readable.
   * @throws {ArgumentError} ARGUMENT_FD
   * @throws {SyscallError} ENOENT (not added)
   */
  remove(fd: number): void {
    this.#control(kernel.EPOLL_CTL_DEL, fd, 0, 0);
  }

  /**
   * epoll_wait(2). Blocks the whole thread: no timer, promise or signal handler runs meanwhile.
   * @param timeoutMs 0 asks only, -1 waits for ever
   * @returns how many events there are (0 after the time), or INTERRUPTED by a signal
   * @throws {DataError} DATA_FDS_TAKEN after close()
   * @throws {SyscallError} any other errno
   */
  wait(timeoutMs: number): number {
    // NaN would become 0 in C, and a loop that should sleep would spin.
    assert((timeoutMs | 0) === timeoutMs, "the timeout is a whole number of milliseconds");
    assert(timeoutMs >= -1, "the timeout is -1 or more");
    this.#count = 0;
    const count = libc.epoll_wait(
      this.#fd.number,
      this.#ready.address as Pointer,
      this.#eventsMax,
      timeoutMs,
    );
    if (count >= 0) {
      this.#count = count;
      return count;
    }
    const errno = lastErrno();
    if (errno === kernel.EINTR) return INTERRUPTED;
    throw syscallError("epoll_wait", errno);
  }

  /**
   * The token of an event.
   * @param index 0..count-1 of the last wait()
   */
  token(index: number): number {
    assert(index >= 0, "the index of an event is not negative");
    assert(index < this.#count, "the event is one of the last wait()");
    return this.#ready.words[index * EVENT_WORDS + TOKEN_WORD] as number;
  }

  /**
   * The EPOLL* bits of an event, unsigned.
   * @param index 0..count-1 of the last wait()
   */
  events(index: number): number {
    assert(index >= 0, "the index of an event is not negative");
    assert(index < this.#count, "the event is one of the last wait()");
    return this.#ready.words[index * EVENT_WORDS] as number;
  }

  /** Closes the epoll instance, not the fds that were added. Does nothing the second time. */
  close(): void {
    this.#count = 0;
    this.#fd.close();
  }

  #control(operation: number, fd: number, events: number, token: number): void {
    assertFd(fd, "fd");
    assert(token >>> 0 === token, "a token is a u32");
    const words = this.#change.words;
    words[0] = events;
    words[TOKEN_WORD] = token;
    const epollFd = this.#fd.number;
    if (libc.epoll_ctl(epollFd, operation, fd, this.#change.address as Pointer) < 0) {
      throw syscallError("epoll_ctl", lastErrno(), `fd ${fd}`);
    }
  }
}
