/**
 * Lets clients in, one by one. Where no fd or memory is left, those who are connected go on: the
 * backlog waits a moment, or is told that there is no room, and administrators still get in.
 */

import { SyscallError } from "../../errors.ts";
import { FD_TABLE_FULL, INTERRUPTED, PEER_CLOSED, WOULD_BLOCK } from "../../ffi/syscall-result.ts";
import { isDue, NEVER } from "../deadlines.ts";
import type { BrokerEventListener } from "../events.ts";
import type { SpareFds } from "../fds/spare-fds.ts";
import type { SocketWatch } from "../socket-watch.ts";
import { ACCEPT_PAUSE_MS, DOOR_SHUT_MS, TURNED_AWAY_AT_ONCE } from "./limits.ts";
import type { Listener } from "./listener.ts";
import type { Reception } from "./reception.ts";

/** What clients are let in with. */
export interface AcceptingParts {
  readonly listener: Listener;
  readonly watch: SocketWatch;
  readonly spareFds: SpareFds;
  readonly reception: Reception;
  /** Makes a connection of a socket. @throws {SyscallError} where the kernel does not say who it is */
  readonly adopt: (fd: number, administratorsOnly: boolean) => void;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly onEvent: BrokerEventListener;
}

/** The door of one broker. */
export class Accepting {
  readonly #parts: AcceptingParts;
  #resumesAt = 0;
  #isPaused = false;
  /** When the door opens again that is shut on a crowd; Infinity while it is open. */
  #opensAt = NEVER;
  /** Who was turned away since it opened last. */
  #turnedAway = 0;
  /** Whom accept() asks first: those who wait to be let in, or those at the door. */
  #isWaiterNext = true;
  /** The last attempt found no fd or memory left. */
  #isExhausted = false;

  constructor(parts: AcceptingParts) {
    this.#parts = parts;
    parts.watch.watchListener(parts.listener.fd);
  }

  /** When resumeIfDue() or accept() has something to do; Infinity while they have not. */
  deadline(): number {
    if (this.#isPaused) return this.#resumesAt;
    return Math.min(this.#refillDeadline(), this.#parts.reception.deadline(), this.#opensAt);
  }

  /** Whether accept() has something to do, also where nobody is at the door. */
  get hasDue(): boolean {
    return !this.#isPaused && isDue(this.#parts.reception.deadline(), this.#parts.now);
  }

  #refillDeadline(): number {
    return this.#parts.spareFds.areShort ? this.#resumesAt : NEVER;
  }

  /**
   * Lets one client in, one that had to wait, where its turn has come, or the next one; and sees one
   * off that is turned away.
   * @returns whether another one may be waiting for this turn
   */
  accept(): boolean {
    if (this.#isPaused) return false;
    const isAnyLeft = this.#acceptNext();
    return this.#parts.reception.seeOffNext() || isAnyLeft;
  }

  #acceptNext(): boolean {
    const { listener, reception, spareFds } = this.#parts;
    // In turn: neither those who wait nor those at the door keep the others out.
    const isWaiterFirst = this.#isWaiterNext;
    this.#isWaiterNext = !isWaiterFirst;
    if (isWaiterFirst && reception.letInNext(this.#letIn)) return true;
    const fd = this.#isShut ? WOULD_BLOCK : listener.accept();
    if (fd === WOULD_BLOCK) return !isWaiterFirst && reception.letInNext(this.#letIn);
    if (fd === PEER_CLOSED || fd === INTERRUPTED) return true;
    if (fd < 0) {
      this.#noteExhausted();
      // One a turn: who is refused is closed at the end of it, and then the next one has room.
      if (fd !== FD_TABLE_FULL || !this.#acceptWithSpareFds()) this.pause();
      return false;
    }
    this.#isExhausted &&= spareFds.areShort;
    if (reception.receive(fd, this.#letIn) === "TURN_AWAY") this.#noteTurnedAway();
    return true;
  }

  get #isShut(): boolean {
    return this.#opensAt !== NEVER;
  }

  /**
   * A crowd that is turned away comes again at once, and could keep the broker busy with nothing else.
   * So the door is shut for a moment behind a few of them: who comes meanwhile waits in the kernel.
   */
  #noteTurnedAway(): void {
    this.#turnedAway += 1;
    if (this.#turnedAway < TURNED_AWAY_AT_ONCE) return;
    this.#turnedAway = 0;
    const { listener, watch, now } = this.#parts;
    this.#opensAt = now() + DOOR_SHUT_MS;
    watch.setListenerPaused(listener.fd, true);
  }

  #openIfDue(): void {
    const { listener, watch, now } = this.#parts;
    if (!isDue(this.#opensAt, now)) return;
    this.#opensAt = NEVER;
    if (!this.#isPaused) watch.setListenerPaused(listener.fd, false);
  }

  /** Lets nobody in for a moment. */
  pause(): void {
    const { listener, watch, now } = this.#parts;
    this.#resumesAt = now() + ACCEPT_PAUSE_MS;
    if (this.#isPaused) return;
    this.#isPaused = true;
    watch.setListenerPaused(listener.fd, true);
  }

  /** Once the pause is over: goes on, and sees to it that there are spare fds. Opens the door. */
  resumeIfDue(): void {
    this.#openIfDue();
    const { listener, watch, spareFds, now } = this.#parts;
    const deadline = this.#isPaused ? this.#resumesAt : this.#refillDeadline();
    if (!isDue(deadline, now)) return;
    spareFds.refill();
    this.#resumesAt = now() + ACCEPT_PAUSE_MS;
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (!this.#isShut) watch.setListenerPaused(listener.fd, false);
  }

  /** @returns whether somebody was let in, or told that there is no room */
  #acceptWithSpareFds(): boolean {
    const { listener, spareFds } = this.#parts;
    if (!spareFds.areEnough) return false;
    return spareFds.lend(() => {
      const fd = listener.accept();
      if (fd < 0) return false;
      this.#adopt(fd, true);
      return true;
    });
  }

  readonly #letIn = (fd: number): void => this.#adopt(fd, false);

  #adopt(fd: number, administratorsOnly: boolean): void {
    try {
      this.#parts.adopt(fd, administratorsOnly);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
    }
  }

  /** Told once, however often accepting is tried again in vain. */
  #noteExhausted(): void {
    if (this.#isExhausted) return;
    this.#isExhausted = true;
    const reason = "no file descriptor or memory is left";
    this.#parts.onEvent({ type: "accept-paused", reason });
  }
}
