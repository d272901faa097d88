/**
 * What the broker asks of the kernel about files of clients, none of which may wait; and what they
 * cost while they are being closed: until they are gone they count among the fds that the broker has
 * open; and where that takes long, they are charged to the user who sent them.
 */

import type { FoundFdKind } from "../../fd-kinds.ts";
import { AF_UNIX } from "../../ffi/constants.ts";
import { fdKind } from "../../ffi/fd-kind.ts";
import { getSocketDomain } from "../../ffi/socket-options.ts";
import type { Connection } from "../connection.ts";
import type { FdBudget } from "../fds/fd-budget.ts";
import type { FdHost } from "../fds/fd-intake.ts";
import { KeptFds } from "../fds/kept-fds.ts";
import { type Quotas, RESOURCE } from "../quotas/quota.ts";
import type { ReceivedPacket } from "../reading/packet-handler.ts";
import type { FdCloser } from "./fd-closer.ts";

/** Who sent fds, and pays for them. */
export type FdSender = Pick<Connection, "identity" | "fdAccount">;

/** The files of one broker's clients. */
export class ClientFiles implements FdHost {
  readonly #closer: FdCloser;
  readonly #quotas: Quotas;
  readonly #budget: FdBudget;
  /** Users with files that are not closed yet: how many of these they are charged for. */
  readonly #charged = new Map<number, number>();
  /** Users with packets that are to be handled later: how many fds these have. */
  readonly #kept = new Map<number, number>();
  /** Files that are not closed yet, as they stand in the budget. */
  #held = 0;

  constructor(closer: FdCloser, quotas: Quotas, budget: FdBudget) {
    this.#closer = closer;
    this.#quotas = quotas;
    this.#budget = budget;
  }

  /** FdHost */
  closeFd(fd: number, uid: number, atOnce = false): void {
    const { pending } = this.#closer;
    this.#closer.close(fd, uid, atOnce);
    if (this.#closer.pending === pending) return;
    this.#countHeld();
    if (!this.#charged.has(uid)) this.#charged.set(uid, 0);
  }

  /**
   * Keeps the fds of a packet that was received behind one that waits. They are charged to nobody, since
   * nobody has looked at it yet: roomToKeep() counts them.
   * @param fds owned by what is returned, and counted as open until it lets go of them
   * @param uid whose they are
   */
  keep(fds: number[], uid: number): KeptFds {
    this.#budget.hold(fds.length);
    this.#countKept(uid, fds.length);
    const letGo = (count: number) => {
      this.#budget.letGo(count);
      this.#countKept(uid, -count);
    };
    return new KeptFds(fds, letGo, (fd) => this.closeFd(fd, uid));
  }

  /**
   * Keeps the fds of a packet that waits, as if they were on their way already: so who has many
   * connections held back cannot fill what all users share.
   * @param packet its fds are taken
   * @param paid how many its sender is charged for; the others are kept as by keep(), where there is
   *   roomToKeep() for all. Left out: all of them
   * @returns undefined where they do not fit what their sender may hold; nothing is taken then
   */
  keepPaid(
    packet: ReceivedPacket,
    { identity, fdAccount }: FdSender,
    paid = packet.receivedFdCount,
  ): KeptFds | undefined {
    const { uid } = identity;
    const unpaid = packet.receivedFdCount - paid;
    if (unpaid > 0 && packet.receivedFdCount > this.roomToKeep(uid)) return undefined;
    if (!fdAccount.keep(paid)) return undefined;
    const fds = packet.takeFds();
    this.#budget.hold(fds.length);
    this.#countKept(uid, unpaid);
    const letGo = (count: number) => {
      // All at once; there may be none any more.
      if (count === 0) return;
      this.#budget.letGo(count);
      this.#countKept(uid, -unpaid);
      fdAccount.letGo(paid);
    };
    return new KeptFds(fds, letGo, (fd) => this.closeFd(fd, uid), true);
  }

  /**
   * How many fds of packets that may have to be handled later a user may bring, beside those that are
   * kept, and those that it is charged for; 0 or less for none.
   */
  roomToKeep(uid: number): number {
    const user = this.#quotas.user(uid);
    const held = user.used(RESOURCE.fds) + (this.#kept.get(uid) ?? 0);
    return user.limit(RESOURCE.fds) - held;
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
    this.#countHeld();
    for (const [uid, charged] of this.#charged) this.#charge(uid, charged);
  }

  /** So many fds of a user are kept more, or with a negative number less. */
  #countKept(uid: number, count: number): void {
    const kept = (this.#kept.get(uid) ?? 0) + count;
    if (kept === 0) this.#kept.delete(uid);
    else this.#kept.set(uid, kept);
  }

  /** All that is pending counts among the fds that the broker has open. */
  #countHeld(): void {
    const { pending } = this.#closer;
    if (pending >= this.#held) this.#budget.hold(pending - this.#held);
    else this.#budget.letGo(this.#held - pending);
    this.#held = pending;
  }

  /** Charges a user for what takes long to be closed. */
  #charge(uid: number, charged: number): void {
    const overdue = this.#closer.overdueOf(uid);
    if (overdue > charged) this.#quotas.user(uid).impose(RESOURCE.fds, overdue - charged);
    else if (overdue < charged) this.#quotas.user(uid).release(RESOURCE.fds, charged - overdue);
    if (this.#closer.pendingOf(uid) === 0) this.#charged.delete(uid);
    else this.#charged.set(uid, overdue);
  }
}
