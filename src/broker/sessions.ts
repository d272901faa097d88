/**
 * The life of connections: accepted, welcomed, read from, flushed, and ended, whatever brought the
 * end about.
 *
 * Invariants: a connection leaves the tables, closes its sockets and frees its slot in settle(), at
 * the end of a turn and never in the middle of one; what one client does ends at most that client;
 * fds that came from a client are closed exactly once.
 */

import { ProtocolError, SyscallError } from "../errors.ts";
import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT } from "../ffi/constants.ts";
import { PEER_CLOSED, RECORD_TRUNCATED } from "../ffi/syscall-result.ts";
import { goodbyeBody, type Hello } from "../protocol/control-messages.ts";
import { PACKET_BYTES_MAX, PROTOCOL_VERSION } from "../protocol/limits.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import { STATUS } from "../protocol/status-codes.ts";
import { Administration, type AdministrationHost } from "./administration.ts";
import { Admission } from "./admission.ts";
import type { Area } from "./area.ts";
import { Background } from "./background.ts";
import { Burials } from "./burials.ts";
import { BusState } from "./bus-state.ts";
import { ClientFiles } from "./client-files.ts";
import type { Connection, OpenTopic } from "./connection.ts";
import { ConnectionTable } from "./connection-table.ts";
import { CONTROL_FRAME_BUFFER, encodeControlFrame } from "./control-frames.ts";
import {
  anotherSender,
  type Cause,
  doesNotRead,
  doesNotTakeFds,
  fdsDoNotClose,
  noFdsLeft,
  noHello,
  tooManyAwaitingHello,
} from "./endings.ts";
import type { BrokerEventListener } from "./events.ts";
import { encodeFatal, type FatalFields } from "./fatal-frame.ts";
import { FdBudget } from "./fd-budget.ts";
import { FdCloser } from "./fd-closer.ts";
import { FdGate } from "./fd-gate.ts";
import { FdIntake } from "./fd-intake.ts";
import { FdSweep, type FdSweepHost } from "./fd-sweep.ts";
import { FdsInFlight } from "./fds-in-flight.ts";
import { Flusher, type FlushHost } from "./flusher.ts";
import { HeldOff } from "./held-off.ts";
import { type IdentityOptions, isSentBy } from "./identity.ts";
import { type ControlSender, Introductions } from "./introductions.ts";
import {
  BACKGROUND_MS_PER_TURN,
  BURIAL_MS_PER_TURN,
  BYTES_PER_TURN,
  COSTLY_MS_PER_TURN,
  HELLO_TIMEOUT_MS,
  PACKETS_PER_TURN,
} from "./limits.ts";
import { LingeringSockets } from "./lingering-sockets.ts";
import { tellTooLarge } from "./message-limit.ts";
import { PacketHandler, type PacketHost, type ReceivedPacket } from "./packet-handler.ts";
import { PacketRest, PacketRests } from "./packet-rests.ts";
import { PacketSource } from "./packet-source.ts";
import type { Policy } from "./policy/rules.ts";
import { Queries } from "./queries/queries.ts";
import { type LimitsOfUid, Quotas } from "./quota.ts";
import { limitsOfPolicy, quotaDefaults } from "./quota-limits.ts";
import { Requests } from "./requests.ts";
import { Rights } from "./rights.ts";
import { Router, type RouterHost } from "./router.ts";
import { QUEUE_FULL } from "./send-queue.ts";
import type { SocketWatch } from "./socket-watch.ts";
import type { SpareFds } from "./spare-fds.ts";
import { Statistics } from "./statistics.ts";
import { welcome } from "./welcome.ts";

/** What sessions are made from. */
export interface SessionsOptions {
  readonly policy: Policy;
  /** The broker's effective uid. */
  readonly ownUid: number;
  /** Serve the broker's own uid alone, for want of a policy file. */
  readonly servesOwnUidOnly: boolean;
  /** What administrators may ask for. */
  readonly administration: AdministrationHost;
  /** RLIMIT_NOFILE of this process. */
  readonly openFilesMax: number;
  /** Milliseconds after which fds that a subscriber did not take are withdrawn. */
  readonly fdTtlMs: number;
  /** For administrators, where the process may open no more. */
  readonly spareFds: SpareFds;
  /** How identities are read. */
  readonly identity: IdentityOptions;
  /** Whether each packet must come from the process that connected. */
  readonly verifiesPackets: boolean;
  /** Whether the kernel keeps fds out of connections that are not opened for them. */
  readonly keepsFdsOut: boolean;
  readonly watch: SocketWatch;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly onEvent: BrokerEventListener;
}

/** All connections of one broker. */
export class Sessions implements RouterHost, PacketHost, FlushHost, FdSweepHost {
  /** Work that settle() does a little of each time. */
  readonly background = new Background();
  /** Closes what clients sent. */
  readonly closer: FdCloser;
  readonly #options: SessionsOptions;
  readonly #state: BusState;
  readonly #table: ConnectionTable;
  readonly #introductions: Introductions;
  readonly #handler: PacketHandler;
  readonly #rights: Rights;
  readonly #files: ClientFiles;
  readonly #source: PacketSource;
  readonly #flusher: Flusher;
  readonly #rests = new PacketRests();
  readonly #heldOff: HeldOff;
  readonly #administration: Administration;
  readonly #admission: Admission;
  readonly #quotas: Quotas;
  readonly #budget: FdBudget;
  readonly #fdSweep: FdSweep;
  readonly #lingering: LingeringSockets;
  readonly #burials: Burials;
  /** When this turn's time for costly work is up; 0 where none was asked for yet. */
  #costlyEndsAt = 0;

  constructor(given: SessionsOptions) {
    const statistics = new Statistics();
    const options = { ...given, onEvent: statistics.counting(given.onEvent) };
    this.#options = options;
    this.closer = new FdCloser({ now: options.now, onEvent: options.onEvent });
    this.#heldOff = new HeldOff(this.closer, options.watch);
    this.#flusher = new Flusher(options.watch, this);
    this.#state = new BusState(options.policy, ({ id, identity }, denial) =>
      options.onEvent({ type: "would-deny", connection: id, identity, ...denial }),
    );
    const { openFilesMax, servesOwnUidOnly: servesOneUid, ownUid, onEvent, watch } = options;
    this.#budget = new FdBudget(openFilesMax);
    const { connectionsMax } = this.#budget;
    this.#table = new ConnectionTable({ connectionsMax, servesOneUid });
    this.#quotas = new Quotas(this.#limitsOf(options.policy));
    this.#files = new ClientFiles(this.closer, this.#quotas, this.#budget);
    this.#source = new PacketSource(this.closer, this.#files);
    const inFlight = new FdsInFlight(options.now);
    this.#lingering = new LingeringSockets(this.#budget);
    this.#introductions = new Introductions(this.#send);
    const router = new Router(this.#state, this.#introductions, inFlight, this);
    const { administration } = options;
    this.#administration = new Administration(this.#state, administration, ownUid, this.#send);
    this.#admission = new Admission({
      table: this.#table,
      budget: this.#budget,
      quotas: this.#quotas,
      inFlight,
      administration: this.#administration,
      policyGeneration: () => this.#state.policyGeneration,
      options,
    });
    const fdGate = new FdGate(options.keepsFdsOut);
    const queries = new Queries({
      table: this.#table,
      state: this.#state,
      quotas: this.#quotas,
      statistics,
      fdCounters: inFlight.counters,
      backlogBytes: () => this.#admission.backlogBytes,
      administration: this.#administration,
      send: this.#send,
      now: options.now,
    });
    const areas: readonly Area[] = [queries];
    const shared = { state: this.#state, areas, fdGate, send: this.#send, onEvent };
    const tables = { ...shared, lingering: this.#lingering, budget: this.#budget };
    const fdWork = { inFlight, table: this.#table, watch, flusher: this.#flusher };
    this.#fdSweep = new FdSweep({ ...tables, ...fdWork, ttlMs: options.fdTtlMs, host: this });
    const requests = new Requests({
      ...shared,
      administration: this.#administration,
      fdSweep: this.#fdSweep,
    });
    this.#rights = new Rights(shared);
    const intake = new FdIntake({ ...tables, router, host: this.#files });
    this.#handler = new PacketHandler({
      router,
      requests,
      rights: this.#rights,
      intake,
      host: this,
    });
    this.#burials = new Burials({
      ...tables,
      introductions: this.#introductions,
      table: this.#table,
      watch,
      files: this.#files,
      source: this.#source,
    });
  }

  get size(): number {
    return this.#table.size;
  }

  /** The connection behind a reactor token, if it is still there. */
  at(slot: number): Connection | undefined {
    return this.#table.at(slot);
  }

  /**
   * Takes an accepted socket.
   * @param fd owned by the sessions from here on, also where the client is refused
   * @param administratorsOnly refuse all others, as there is no room
   * @throws {SyscallError} where the kernel does not say who it is; the socket is closed then
   */
  adopt(fd: number, administratorsOnly: boolean): void {
    const { connection, refusal, evicted } = this.#admission.admit(fd, administratorsOnly);
    const { id, identity } = connection;
    this.#options.onEvent({ type: "connected", connection: id, identity });
    if (evicted !== undefined) this.#end(evicted, tooManyAwaitingHello());
    if (refusal !== undefined) this.#end(connection, refusal);
    else if (this.closer.isStuck(identity.uid)) this.#endForCloses(connection);
  }

  /** Handles one readiness event of a connection's socket or lane. */
  ready(connection: Connection, events: number): void {
    if ((events & EPOLLOUT) !== 0) this.#flusher.flush(connection);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) === 0 || connection.state === "DOOMED") return;
    if (connection.isReadingStopped) return this.#doom(connection, undefined);
    // What it sent before comes first.
    if (this.#rests.has(connection)) return;
    try {
      this.#readPackets(connection);
    } catch (error) {
      this.#fail(connection, error);
    }
  }

  /** A packet could not be handled. @throws what is no fault of the client or its socket */
  #fail(connection: Connection, error: unknown): void {
    if (error instanceof ProtocolError) this.#endForProtocol(connection, error);
    else if (error instanceof SyscallError) this.#doom(connection, undefined);
    else throw error;
  }

  /** The lane of a connection whose queue waits for it takes records again, or is closed. */
  laneReady(connection: Connection): void {
    if (connection.state !== "DOOMED") this.#flusher.flush(connection);
  }

  /** Whether settle() has nothing to do before something happens. */
  get isSettled(): boolean {
    const hasWork = this.#rests.size > 0 || !this.#burials.isEmpty;
    return !hasWork && this.#flusher.isIdle && this.background.isIdle;
  }

  /**
   * Ends a turn: looks at the clock, sends what is queued, closes what is doomed. Where many died
   * at once, the next turns close the others: each must be told to all who heard of it.
   */
  settle(): void {
    this.#expireHellos();
    this.#fdSweep.runIfDue();
    if (this.closer.pending > 0) this.#settleCloses();
    if (this.#rests.size > 0) this.#goOn();
    this.#costlyEndsAt = 0;
    if (!this.background.isIdle) this.background.run(this.#timer(BACKGROUND_MS_PER_TURN));
    this.#flusher.flushAll();
    if (this.#burials.isEmpty) return;
    this.#burials.run(this.#timer(BURIAL_MS_PER_TURN));
    this.#flusher.flushAll();
  }

  #settleCloses(): void {
    this.#files.settle();
    this.#heldOff.settle(this.#endForCloses);
  }

  readonly #endForCloses = (connection: Connection): void =>
    this.#end(connection, fdsDoNotClose(connection.identity.uid));

  /** Goes on with packets that were too costly for the turns before, in turn; with one at least. */
  #goOn(): void {
    this.#costlyEndsAt = 0;
    for (let count = this.#rests.size; count > 0; count -= 1) {
      const [connection, rest] = this.#rests.shift() ?? [];
      if (connection === undefined || rest === undefined) return;
      try {
        this.#handle(connection, rest, rest.buffer.byteLength);
      } catch (error) {
        this.#fail(connection, error);
      }
      if (!this.hasTime()) return;
    }
  }

  /** @returns false where the connection has ended, or some of the packet is left for later */
  #handle(connection: Connection, packet: ReceivedPacket, packetBytes: number): boolean {
    const handled = this.#handler.handle(connection, packet, packetBytes);
    if (connection.state === "DOOMED") return false;
    if (handled === packetBytes) return true;
    this.#rests.push(connection, new PacketRest(packet.buffer, handled, packetBytes));
    return false;
  }

  /** @returns asks whether there is time left, counted from now */
  #timer(milliseconds: number): () => boolean {
    const endsAt = this.#options.now() + milliseconds;
    return () => this.#options.now() < endsAt;
  }

  /**
   * Puts another policy in force. Every decision from now on is the new one's; rights that are gone
   * are taken from a connection before its next packet, and told to it in the following turns.
   */
  replacePolicy(policy: Policy): void {
    this.#state.replacePolicy(policy);
    this.#quotas.replaceLimits(this.#limitsOf(policy));
    this.background.add(this.#rights.sweep(this.#table.all()));
  }

  #limitsOf({ limits }: Policy): LimitsOfUid {
    return limitsOfPolicy(limits, quotaDefaults(this.#options.openFilesMax));
  }

  /** Ends connections that took too long to say HELLO. */
  #expireHellos(): void {
    for (;;) {
      const oldest = this.#table.oldestAwaitingHello();
      if (oldest === undefined || this.#helloDeadline() > this.#options.now()) return;
      this.#end(oldest, noHello());
    }
  }

  /** When settle() has to look at the clock again; Infinity where nothing is awaited. */
  deadline(): number {
    return Math.min(this.#helloDeadline(), this.#fdSweep.deadline());
  }

  #helloDeadline(): number {
    const oldest = this.#table.oldestAwaitingHello();
    return oldest === undefined ? Number.POSITIVE_INFINITY : oldest.acceptedAt + HELLO_TIMEOUT_MS;
  }

  /** Says goodbye to everybody and reads no more. hasQueued() tells when it has gone out. */
  sayGoodbye(): void {
    const message = "The broker is shutting down";
    const body = goodbyeBody({ status: STATUS.CLOSED_BY_BROKER, message });
    this.#rests.clear();
    for (const connection of this.#table.all()) {
      if (connection.state === "DOOMED") continue;
      this.#options.watch.stopReading(connection);
      if (connection.queue.tellGaps() === QUEUE_FULL) this.evict(connection);
      this.#send(connection, { opcode: OPCODE.GOODBYE, id: 0, body });
    }
    this.#flusher.flushAll();
  }

  /** Whether any client has not taken all that is meant for it. */
  hasQueued(): boolean {
    for (const connection of this.#table.all()) {
      if (connection.state !== "DOOMED" && !connection.queue.isEmpty) return true;
    }
    return false;
  }

  /** Closes every connection. */
  closeAll(): void {
    for (const connection of this.#table.all()) this.#doom(connection, undefined);
    this.#burials.run(() => true);
    this.#lingering.closeAll();
  }

  /** RouterHost, PacketHost */
  hasTime(): boolean {
    const now = this.#options.now();
    if (this.#costlyEndsAt === 0) this.#costlyEndsAt = now + COSTLY_MS_PER_TURN;
    return now < this.#costlyEndsAt;
  }

  /** RouterHost */
  noteUnflushed(connection: Connection): void {
    this.#flusher.note(connection);
  }

  /** RouterHost */
  notePeerGone(connection: Connection): void {
    this.#flusher.notePeerGone(connection);
  }

  /** RouterHost */
  noteTooLarge(sender: Connection, open: OpenTopic, actual: number): void {
    const about = { topic: open.topic.name, limit: open.messageBytesMax, actual };
    tellTooLarge({ send: this.#send, onEvent: this.#options.onEvent }, sender, about);
  }

  /** FlushHost */
  evict(connection: Connection): void {
    this.#doom(connection, doesNotRead(connection.queue.queuedBytes));
  }

  /** FlushHost */
  abandon(connection: Connection): void {
    this.#doom(connection, undefined);
  }

  /** FdSweepHost */
  evictForFds(connection: Connection, fds: number): void {
    const cause = doesNotTakeFds(fds, this.#options.fdTtlMs);
    connection.queue.sendLast(encodeFatal(cause, {}));
    this.#doom(connection, cause);
  }

  /** Clients that something waits for have taken fds. */
  fdsTaken(): void {
    this.#fdSweep.noteTaking();
  }

  /** PacketHost */
  welcome(connection: Connection, hello: Hello): void {
    this.#table.noteHello(connection);
    connection.state = "OPEN";
    try {
      if (!this.#welcome(connection, hello)) this.#doom(connection, undefined);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      this.#end(connection, noFdsLeft(error));
    }
  }

  /** An administrator's lane may take the spare fds. */
  #welcome(connection: Connection, hello: Hello): boolean {
    try {
      return welcome(connection, hello, this.#send);
    } catch (error) {
      const isAdministrator = this.#administration.isAdministrator(connection.identity);
      if (!(error instanceof SyscallError) || !isAdministrator) throw error;
      return this.#options.spareFds.lend(() => welcome(connection, hello, this.#send));
    }
  }

  #readPackets(connection: Connection): void {
    const fd = connection.socket.number;
    const { uid } = connection.identity;
    const { packet } = this.#source;
    let turnBytes = 0;
    for (let packets = 0; packets < PACKETS_PER_TURN; packets += 1) {
      if (this.closer.isFull(uid)) return this.#heldOff.add(connection);
      const bytes = this.#source.receive(fd, uid);
      if (bytes > 0) {
        turnBytes += bytes;
        if (this.#options.verifiesPackets && !isSentBy(connection.identity, packet)) {
          packet.closeFds();
          return this.#end(connection, anotherSender());
        }
        if (!this.#handle(connection, packet, bytes)) return;
        if (turnBytes >= BYTES_PER_TURN) return;
      } else if (bytes === PEER_CLOSED) {
        return this.#doom(connection, undefined);
      } else if (bytes === RECORD_TRUNCATED) {
        const message = `Cannot read packet: it has more than ${PACKET_BYTES_MAX} bytes`;
        throw new ProtocolError("PROTOCOL_PACKET_SIZE", message, 0);
      } else return;
    }
  }

  /** Queues a control frame; it leaves at the end of the turn. */
  readonly #send: ControlSender = (connection, frame) => {
    if (connection.state === "DOOMED") return;
    const bytes = encodeControlFrame(frame);
    if (connection.queue.push(CONTROL_FRAME_BUFFER, bytes) === QUEUE_FULL) this.evict(connection);
    else if (!connection.isUnflushed && connection.watchedFd < 0) this.noteUnflushed(connection);
  };

  #endForProtocol(connection: Connection, error: ProtocolError): void {
    const { code, message, byteOffset } = error;
    const protocol = code === "PROTOCOL_VERSION" ? PROTOCOL_VERSION : undefined;
    this.#end(connection, { code, message }, { offset: byteOffset, protocol });
  }

  /** Tells a client why it is closed, and closes it. */
  #end(connection: Connection, cause: Cause, fields: FatalFields = {}): void {
    if (connection.state === "DOOMED") return;
    connection.queue.push(CONTROL_FRAME_BUFFER, encodeFatal(cause, fields));
    this.#flusher.flush(connection);
    this.#doom(connection, cause);
  }

  #doom(connection: Connection, cause: Cause | undefined): void {
    if (connection.state === "DOOMED") return;
    this.#table.noteHello(connection);
    connection.state = "DOOMED";
    connection.queue.abandon();
    this.#rests.drop(connection);
    this.#heldOff.drop(connection);
    this.#burials.add(connection, cause);
  }
}
