/**
 * What the broker asks of the kernel about files of clients, none of which may wait; and what they
 * cost while they are being closed: they stay charged to the user who sent them, and count among the
 * fds that the broker has open, until they are gone.
 */

import type { FoundFdKind } from "../fd-kinds.ts";
import { AF_UNIX } from "../ffi/constants.ts";
import { fdKind } from "../ffi/fd-kind.ts";
import { getSocketDomain } from "../ffi/socket-options.ts";
import type { FdBudget } from "./fd-budget.ts";
import type { FdCloser } from "./fd-closer.ts";
import type { FdHost } from "./fd-intake.ts";
import { KeptFds } from "./kept-fds.ts";
import { type Quotas, RESOURCE } from "./quota.ts";

/** The files of one broker's clients. */
export class ClientFiles implements FdHost {
  readonly #closer: FdCloser;
  readonly #quotas: Quotas;
  readonly #budget: FdBudget;
  /** By uid: files that are charged because they are not closed yet. */
  readonly #charged = new Map<number, number>();

  constructor(closer: FdCloser, quotas: Quotas, budget: FdBudget) {
    this.#closer = closer;
    this.#quotas = quotas;
    this.#budget = budget;
  }

  /** FdHost */
  closeFd(fd: number, uid: number, atOnce = false): void {
    const { pending } = this.#closer;
    this.#closer.close(fd, uid, atOnce);
    if (this.#closer.pending !== pending) this.#charge(uid);
  }

  /**
   * Keeps the fds of a packet that is to be handled later.
   * @param fds owned by what is returned, and counted as open until it lets go of them
   * @param uid whose they are
   */
  keep(fds: number[], uid: number): KeptFds {
    this.#budget.hold(fds.length);
    const letGo = (count: number) => this.#budget.letGo(count);
    return new KeptFds(fds, letGo, (fd) => this.closeFd(fd, uid));
  }

  /** FdHost */
  kindOfFd(fd: number, tellsReadOnly: boolean): FoundFdKind {
    return fdKind(fd, tellsReadOnly);
  }

  /** FdHost */
  isUnixSocket(fd: number): boolean {
    return getSocketDomain(fd) === AF_UNIX;
  }

  /** Looks at what has been closed. To be called while the closer has anything pending. */
  settle(): void {
    this.#closer.settle();
    for (const uid of this.#charged.keys()) this.#charge(uid);
  }

  /** Charges a user for what is pending now. */
  #charge(uid: number): void {
    const before = this.#charged.get(uid) ?? 0;
    const pending = this.#closer.pendingOf(uid);
    const user = this.#quotas.user(uid);
    if (pending >= before) {
      user.impose(RESOURCE.fds, pending - before);
      this.#budget.hold(pending - before);
    } else {
      user.release(RESOURCE.fds, before - pending);
      this.#budget.letGo(before - pending);
    }
    if (pending === 0) this.#charged.delete(uid);
    else this.#charged.set(uid, pending);
  }
}
