/**
 * Receives newcomers, whose sockets are accepted but who are no connections yet: they are let in,
 * wait until it is their turn, or are turned away. Finding out whose a socket is takes a microsecond,
 * and letting somebody in fifty: so that is known before it is done.
 *
 * Root and the broker's own user are always let in. Where a bus serves one user alone there is
 * nobody whom a crowd of his could harm but himself.
 */

import { SyscallError } from "../../errors.ts";
import { closeFd } from "../../ffi/owned-fd.ts";
import { getPeerUid } from "../../ffi/peer-credentials.ts";
import { sendPacket, shutdownBoth } from "../../ffi/seqpacket.ts";
import { connectsTooOften } from "../departures/endings.ts";
import { encodeFatal } from "../departures/fatal-frame.ts";
import type { BrokerEventListener } from "../events.ts";
import type { FdBudget } from "../fds/fd-budget.ts";
import type { FdHost } from "../fds/fd-intake.ts";
import type { PacketSource } from "../reading/packet-source.ts";
import { CONTROL_FRAME_BUFFER } from "../sending/control-frames.ts";
import { NEWCOMERS_WAITING_SHARE, TURNED_AWAY_MAX } from "./limits.ts";
import { Newcomers, type Reception as Outcome } from "./newcomers.ts";

const ROOT_UID = 0;

/** What newcomers are received with. */
export interface ReceptionParts {
  /** The broker's effective uid. */
  readonly ownUid: number;
  readonly budget: FdBudget;
  readonly source: Pick<PacketSource, "discard">;
  readonly files: Pick<FdHost, "closeFd">;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly onEvent: BrokerEventListener;
}

/** A socket that is shut down and has something left to be read. */
interface Leaving {
  readonly fd: number;
  readonly uid: number;
}

/** Lets somebody in; the socket is the callee's. */
export type LetIn = (fd: number) => void;

/** The newcomers of one broker. */
export class Reception {
  readonly #parts: ReceptionParts;
  readonly #newcomers: Newcomers;
  /** Those who are turned away, in turn; in the budget like those who wait. */
  readonly #leaving: Leaving[] = [];

  constructor(parts: ReceptionParts) {
    this.#parts = parts;
    this.#newcomers = new Newcomers(parts.budget.connectionsMax / NEWCOMERS_WAITING_SHARE);
  }

  /**
   * Takes an accepted socket; closes it where the kernel does not say whose it is.
   * @param fd owned by the callee from here on
   * @returns what became of it; undefined where nobody knows whose it was
   */
  receive(fd: number, letIn: LetIn): Outcome | undefined {
    const uid = uidOf(fd);
    if (uid === undefined) {
      closeFd(fd);
      return undefined;
    }
    const { budget, now, ownUid } = this.#parts;
    const isFree = uid === ROOT_UID || uid === ownUid;
    const outcome = isFree ? "LET_IN" : this.#newcomers.receive(uid, fd, now());
    if (outcome === "LET_IN") letIn(fd);
    else if (outcome === "TURN_AWAY") this.#turnAway(fd, uid);
    else budget.addConnection();
    return outcome;
  }

  /** When letInNext() or seeOffNext() has something to do; Infinity while they have not. */
  deadline(): number {
    return this.#leaving.length > 0 ? 0 : this.#newcomers.deadline();
  }

  /** Lets somebody in whose turn has come. @returns false where there is nobody */
  letInNext(letIn: LetIn): boolean {
    const fd = this.#newcomers.shift(this.#parts.now());
    if (fd < 0) return false;
    this.#parts.budget.removeConnection();
    letIn(fd);
    return true;
  }

  /**
   * Does a step for one of those who are turned away and have sent much.
   * @returns whether there is more to do
   */
  seeOffNext(): boolean {
    const next = this.#leaving.shift();
    if (next === undefined) return false;
    if (this.#seeOff(next)) this.#parts.budget.removeConnection();
    else this.#leaving.push(next);
    return this.#leaving.length > 0;
  }

  /** Closes the sockets of those who wait, or are turned away. */
  closeAll(): void {
    for (const { fd, uid } of this.#newcomers.takeAll()) {
      this.#parts.budget.removeConnection();
      this.#close(fd, uid);
    }
    while (this.seeOffNext());
  }

  #turnAway(fd: number, uid: number): void {
    const cause = connectsTooOften(uid);
    sendPacket(fd, CONTROL_FRAME_BUFFER, 0, encodeFatal(cause, {}));
    this.#close(fd, uid);
    this.#parts.onEvent({ type: "turned-away", uid, code: cause.code, message: cause.message });
  }

  /**
   * What it sent is read first: unread, it would keep the client from reading the last word. Whoever
   * has sent much is seen off in steps; where there are many of them, some do not get to read it.
   */
  #close(fd: number, uid: number): void {
    shutdownBoth(fd);
    if (this.#seeOff({ fd, uid })) return;
    if (this.#leaving.length >= TURNED_AWAY_MAX) return this.#parts.files.closeFd(fd, uid);
    this.#parts.budget.addConnection();
    this.#leaving.push({ fd, uid });
  }

  /** @returns whether the socket is closed; false where something is left to be read */
  #seeOff({ fd, uid }: Leaving): boolean {
    const discarded = this.#parts.source.discard(fd, uid);
    if (discarded === "NOT_EMPTY") return false;
    if (discarded === "EMPTY") closeFd(fd);
    else this.#parts.files.closeFd(fd, uid);
    return true;
  }
}

function uidOf(fd: number): number | undefined {
  try {
    return getPeerUid(fd);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return undefined;
  }
}
