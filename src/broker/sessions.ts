/**
 * The life of connections: accepted, welcomed, read from, flushed, and ended, whatever brought the
 * end about.
 *
 * Invariants: a connection leaves the tables, closes its sockets and frees its slot in settle(), at
 * the end of a turn and never in the middle of one; what one client does ends at most that client;
 * fds that came from a client are closed exactly once.
 */

import { type ProtocolError, SyscallError } from "../errors.ts";
import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT } from "../ffi/constants.ts";
import { getUnreadBytes } from "../ffi/unread-bytes.ts";
import type { Hello } from "../protocol/control-messages.ts";
import { PROTOCOL_VERSION } from "../protocol/limits.ts";
import type { Reception } from "./arrivals/reception.ts";
import { welcome } from "./arrivals/welcome.ts";
import {
  assembleParts,
  type BrokerParts,
  type PartsHost,
  type SessionsOptions,
} from "./broker-parts.ts";
import type { FdCloser } from "./closing/fd-closer.ts";
import type { Connection, OpenTopic } from "./connection.ts";
import { NEVER } from "./deadlines.ts";
import {
  type Cause,
  doesNotRead,
  doesNotTakeFds,
  fdsDoNotClose,
  noFdsLeft,
  noHello,
  readsTooSlowly,
  tooManyAwaitingHello,
} from "./departures/endings.ts";
import { encodeFatal, type FatalFields } from "./departures/fatal-frame.ts";
import { sendLastWord } from "./departures/last-word.ts";
import { Shutdown } from "./departures/shutdown.ts";
import { HELLO_TIMEOUT_MS } from "./limits.ts";
import { type Background, OF_BROKER } from "./long-work/background.ts";
import type { Policy } from "./policy/rules.ts";
import type { LimitFigures } from "./quotas/excess.ts";
import { limitsOfPolicy, quotaDefaults } from "./quotas/quota-limits.ts";
import { tellTooLarge } from "./reading/message-limit.ts";
import type { ReceivedPacket } from "./reading/packet-handler.ts";
import type { ControlSender } from "./routing/introductions.ts";
import type { Topic } from "./routing/topic-table.ts";
import { CONTROL_FRAME_BUFFER, encodeControlFrame } from "./sending/control-frames.ts";
import { QUEUE_FULL } from "./sending/queue-outcomes.ts";
import { BACKGROUND_MS_PER_TURN, COSTLY_MS_PER_TURN } from "./turn-limits.ts";

/** All connections of one broker. */
export class Sessions implements PartsHost {
  readonly #options: SessionsOptions;
  readonly #parts: BrokerParts;
  /** The clean end of all of them. */
  readonly shutdown: Shutdown;
  /** When this turn's time for costly work is up; 0 where none was asked for yet. */
  #costlyEndsAt = 0;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#parts = assembleParts(options, this);
    const { table, reading, flusher, retained } = this.#parts;
    const { turns, watch, now } = options;
    this.shutdown = new Shutdown({
      table,
      reading,
      turns,
      replay: retained.replay,
      watch,
      flusher,
      send: this.send,
      evict: this.evict.bind(this),
      now,
    });
  }

  /** Work that settle() does a little of each time. */
  get background(): Background {
    return this.#parts.background;
  }

  /** Closes what clients sent. */
  get closer(): FdCloser {
    return this.#parts.closer;
  }

  /** Newcomers before they are connections. */
  get reception(): Reception {
    return this.#parts.reception;
  }

  get size(): number {
    return this.#parts.table.size;
  }

  /** The connection behind a reactor token, if it is still there. */
  at(slot: number): Connection | undefined {
    return this.#parts.table.at(slot);
  }

  /**
   * Takes an accepted socket.
   * @param fd owned by the sessions from here on, also where the client is refused
   * @param administratorsOnly refuse all others, as there is no room
   * @throws {SyscallError} where the kernel does not say who it is; the socket is closed then
   */
  adopt(fd: number, administratorsOnly: boolean): void {
    const { connection, refusal, evicted } = this.#parts.admission.admit(fd, administratorsOnly);
    const { id, identity } = connection;
    this.#parts.onEvent({ type: "connected", connection: id, identity });
    if (evicted !== undefined) this.end(evicted, tooManyAwaitingHello());
    if (refusal !== undefined) this.end(connection, refusal);
    else if (this.#parts.closer.isStuck(identity.uid)) this.#endForCloses(connection);
  }

  /** A connection's socket is ready, and is served in its user's turn. */
  noteReady(connection: Connection, events: number): void {
    this.#parts.rounds.note(connection, events);
  }

  /**
   * Serves everybody who has something to say, each user for its share.
   * @returns whether anybody was served
   */
  serve(): boolean {
    this.#costlyEndsAt = 0;
    return this.#parts.rounds.run();
  }

  /** Handles one readiness event of a connection's socket or lane. */
  readonly ready = (connection: Connection, events: number): void => {
    if (isDoomed(connection)) return;
    if ((events & EPOLLOUT) !== 0) this.#parts.flusher.flush(connection);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) === 0 || isDoomed(connection)) return;
    if (connection.isReadingStopped) return this.doom(connection);
    if (connection.isHeld) return this.#parts.backPressure.noteEnded(connection, events);
    this.#parts.reading.read(connection, (events & (EPOLLHUP | EPOLLERR)) !== 0);
  };

  /** The same for one that comes or goes: it is served between the turns, and its user pays for that. */
  readonly readyBetween = (connection: Connection, events: number): void => {
    const { turns, now } = this.#options;
    const { userTurn } = connection;
    const startedAt = now();
    this.ready(connection, events);
    if (userTurn !== undefined) turns.chargeTo(userTurn, now() - startedAt);
  };

  /** The lane of a connection whose queue waits for it takes records again, or is closed. */
  laneReady(connection: Connection): void {
    if (connection.state !== "DOOMED") this.#parts.flusher.flush(connection);
  }

  /** Whether settle() has nothing to do before something happens. */
  get isSettled(): boolean {
    const { burials, deferred } = this.#parts;
    const hasWork = !this.#options.turns.isEmpty || !burials.isEmpty || !deferred.isEmpty;
    const isIdle =
      this.#parts.retained.replay.isIdle &&
      this.#parts.flusher.isIdle &&
      this.#parts.background.isIdle;
    return isIdle && !hasWork;
  }

  /** Sends what is queued. */
  flush(): void {
    this.#parts.flusher.flushAll();
  }

  /**
   * Ends a turn: looks at the clock, sends what is queued, closes what is doomed. Where many died
   * at once, the next turns close the others: each must be told to all who heard of it.
   * @param mayClose asks whether there is time to close more than one
   */
  settle(mayClose: () => boolean): void {
    this.#endTurn(mayClose);
    this.#costlyEndsAt = 0;
    this.#parts.inFlight.turn += 1;
  }

  #endTurn(mayClose: () => boolean): void {
    this.#expireHellos();
    this.#parts.fdSweep.runIfDue();
    if (this.#parts.closer.pending > 0) this.#settleCloses();
    this.#parts.backPressure.look();
    if (!this.#parts.deferred.isEmpty) this.#parts.deferred.run();
    this.#parts.services.settle();
    if (!this.#parts.background.isIdle)
      this.#parts.background.run(this.#timer(BACKGROUND_MS_PER_TURN));
    this.#parts.retained.work(this.#timer);
    this.#parts.flusher.flushAll();
    if (this.#parts.burials.isEmpty) return;
    this.#parts.burials.run(mayClose);
    this.#parts.flusher.flushAll();
  }

  #settleCloses(): void {
    this.#parts.files.settle();
    this.#parts.heldOff.settle(this.#endForCloses);
  }

  readonly #endForCloses = (connection: Connection): void =>
    this.end(connection, this.#closesHang(connection.identity.uid));

  #closesHang(uid: number): Cause {
    const { closer } = this.#parts;
    return fdsDoNotClose(uid, { limit: closer.perUidMax, actual: closer.pendingOf(uid) });
  }

  /** RouterHost */
  noteHeld(by: readonly Connection[], topic: Topic): void {
    this.#parts.reading.noteHeld(by, topic.name);
  }

  /** PacketHost */
  keepFds(connection: Connection, packet: ReceivedPacket, paid: number): boolean {
    return this.#parts.reading.keepFds(connection, packet, paid);
  }

  /** FlushHost */
  noteDrained(connection: Connection): void {
    this.#parts.backPressure.noteDrained(connection);
  }

  /** @returns asks whether there is time left, counted from now */
  readonly #timer = (milliseconds: number): (() => boolean) => {
    const endsAt = this.#options.now() + milliseconds;
    return () => this.#options.now() < endsAt;
  };

  /**
   * Puts another policy in force. Every decision from now on is the new one's; rights that are gone
   * are taken from a connection before its next packet, and told to it in the following turns.
   */
  replacePolicy(policy: Policy): void {
    this.#parts.state.replacePolicy(policy);
    const { openFilesMax, fdTtlMs } = this.#options;
    const defaults = quotaDefaults(openFilesMax, fdTtlMs);
    this.#parts.quotas.replaceLimits(limitsOfPolicy(policy.limits, defaults));
    const { background, rights, retained, table } = this.#parts;
    background.addForRights(OF_BROKER, rights.sweep(table.all()));
    background.addForRights(OF_BROKER, retained.sweep());
  }

  /** Ends connections that took too long to say HELLO. */
  #expireHellos(): void {
    for (;;) {
      const oldest = this.#parts.table.oldestAwaitingHello();
      if (oldest === undefined || this.#helloDeadline() > this.#options.now()) return;
      this.end(oldest, noHello());
    }
  }

  /** When settle() has to look at the clock again; Infinity where nothing is awaited. */
  deadline(): number {
    return Math.min(
      this.#helloDeadline(),
      this.#parts.fdSweep.deadline(),
      this.#parts.backPressure.lookDue,
      this.#parts.retained.nextDeadline,
    );
  }

  #helloDeadline(): number {
    const oldest = this.#parts.table.oldestAwaitingHello();
    return oldest === undefined ? NEVER : oldest.acceptedAt + HELLO_TIMEOUT_MS;
  }

  /** Closes every connection. */
  closeAll(): void {
    this.#parts.reception.closeAll();
    for (const connection of this.#parts.table.all()) this.doom(connection);
    this.#parts.burials.run(() => true);
    this.#parts.lingering.closeAll();
    this.#parts.retained.close();
  }

  /** ReadingHost */
  hasShareLeft(): boolean {
    return this.#options.turns.hasShareLeft(this.#options.now());
  }

  /** RouterHost, PacketHost */
  hasTime(): boolean {
    const now = this.#options.now();
    if (this.#costlyEndsAt === 0) this.#costlyEndsAt = now + COSTLY_MS_PER_TURN;
    return now < this.#costlyEndsAt;
  }

  /** RouterHost */
  noteUnflushed(connection: Connection): void {
    this.#parts.flusher.note(connection);
  }

  /** RouterHost */
  notePeerGone(connection: Connection): void {
    this.#parts.flusher.notePeerGone(connection);
  }

  /** RouterHost */
  noteTooLarge(sender: Connection, open: OpenTopic, actual: number): void {
    const about = { topic: open.topic.name, limit: open.messageBytesMax, actual };
    tellTooLarge({ send: this.send, onEvent: this.#parts.onEvent }, sender, about);
  }

  /** RouterHost */
  noteSlowReader(connection: Connection): void {
    this.endUnread(connection, readsTooSlowly(connection.queue.fullness("messages")));
  }

  /** RouterHost */
  unreadBytes(connection: Connection): number {
    return getUnreadBytes(connection.socket.number);
  }

  /** FlushHost */
  evict(connection: Connection): void {
    this.endUnread(connection, doesNotRead(connection.queue.fullness("control")));
  }

  /** FlushHost */
  abandon(connection: Connection): void {
    this.doom(connection);
  }

  /** FdSweepHost */
  evictForFds(connection: Connection, fds: number, waitedMs: LimitFigures): void {
    this.endUnread(connection, doesNotTakeFds(fds, waitedMs));
  }

  /** Clients that something waits for have taken fds. */
  fdsTaken(): void {
    this.#parts.fdSweep.noteTaking();
  }

  /** PacketHost */
  welcome(connection: Connection, hello: Hello): void {
    this.#parts.table.noteHello(connection);
    connection.state = "OPEN";
    try {
      if (this.#welcome(connection, hello)) this.#parts.presence.noteConnected(connection);
      else this.doom(connection);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      this.end(connection, noFdsLeft(error, this.#parts.budget.figures));
    }
  }

  /** An administrator's lane may take the spare fds. */
  #welcome(connection: Connection, hello: Hello): boolean {
    try {
      return welcome(connection, hello, this.send);
    } catch (error) {
      const isAdministrator = this.#parts.administration.isAdministrator(connection.identity);
      if (!(error instanceof SyscallError) || !isAdministrator) throw error;
      return this.#options.spareFds.lend(() => welcome(connection, hello, this.send));
    }
  }

  /** Queues a control frame; it leaves at the end of the turn. */
  readonly send: ControlSender = (connection, frame) => {
    if (connection.state === "DOOMED") return;
    const bytes = encodeControlFrame(frame);
    if (connection.queue.push(CONTROL_FRAME_BUFFER, bytes) === QUEUE_FULL) this.evict(connection);
    else if (!connection.isUnflushed && connection.watchedFd < 0) this.noteUnflushed(connection);
  };

  /** ReadingHost */
  endForProtocol(connection: Connection, error: ProtocolError): void {
    const { code, message, byteOffset } = error;
    const protocol = code === "PROTOCOL_VERSION" ? PROTOCOL_VERSION : undefined;
    this.end(connection, { code, message }, { offset: byteOffset, protocol });
  }

  /** Tells a client why it is closed, and closes it. */
  end(connection: Connection, cause: Cause, fields: FatalFields = {}): void {
    if (connection.state === "DOOMED") return;
    connection.queue.push(CONTROL_FRAME_BUFFER, encodeFatal(cause, fields));
    this.#parts.flusher.flush(connection);
    this.doom(connection, cause);
  }

  /** Closes a client that does not read what it was sent, and tells it why, if that is possible. */
  endUnread(connection: Connection, cause: Cause): void {
    if (connection.state === "DOOMED") return;
    if (connection.state === "OPEN") sendLastWord(connection.socket.number, encodeFatal(cause, {}));
    this.doom(connection, cause);
  }

  /** Closes a client at the end of the turn. */
  doom(connection: Connection, cause?: Cause): void {
    if (connection.state === "DOOMED") return;
    this.#parts.table.noteHello(connection);
    connection.state = "DOOMED";
    connection.queue.abandon();
    this.#parts.reading.leave(connection);
    this.#parts.burials.add(connection, cause);
  }
}

/** A function, since the compiler believes that a state which it has seen stays. */
function isDoomed({ state }: Connection): boolean {
  return state === "DOOMED";
}
