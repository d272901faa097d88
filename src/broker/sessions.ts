/**
 * The life of connections: accepted, welcomed, read from, flushed, and ended, whatever brought the
 * end about.
 *
 * Invariants: a connection leaves the tables, closes its sockets and frees its slot in settle(), at
 * the end of a turn and never in the middle of one; what one client does ends at most that client;
 * fds that came from a client are closed exactly once.
 */

import { ProtocolError, SyscallError } from "../errors.ts";
import type { FoundFdKind } from "../fd-kinds.ts";
import { PacketReceiver, sendPacketWithFds } from "../ffi/ancillary.ts";
import { AF_UNIX, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT } from "../ffi/constants.ts";
import { fdKind } from "../ffi/fd-kind.ts";
import { closeFd, OwnedFd } from "../ffi/owned-fd.ts";
import { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { sendPacket, shutdownBoth } from "../ffi/seqpacket.ts";
import { getSocketDomain, setSendBufferBytes } from "../ffi/socket-options.ts";
import { PEER_CLOSED, RECORD_TRUNCATED } from "../ffi/syscall-result.ts";
import { errorBody, goodbyeBody, type Hello } from "../protocol/control-messages.ts";
import { PACKET_BYTES_MAX, PROTOCOL_VERSION } from "../protocol/limits.ts";
import { FLAG_FATAL, OPCODE } from "../protocol/opcodes.ts";
import { STATUS, type StatusName } from "../protocol/status-codes.ts";
import { Administration, type AdministrationHost } from "./administration.ts";
import type { Area } from "./area.ts";
import { Background } from "./background.ts";
import { BusState } from "./bus-state.ts";
import { Connection } from "./connection.ts";
import { ConnectionTable } from "./connection-table.ts";
import { CONTROL_FRAME_BUFFER, encodeControlFrame } from "./control-frames.ts";
import {
  anotherSender,
  type Cause,
  doesNotRead,
  noFdsLeft,
  noHello,
  notOwner,
  tooManyAwaitingHello,
  tooManyConnections,
} from "./endings.ts";
import type { BrokerEventListener } from "./events.ts";
import { FdGate } from "./fd-gate.ts";
import { type FdHost, FdIntake } from "./fd-intake.ts";
import { Flusher, type FlushHost } from "./flusher.ts";
import { type IdentityOptions, isSentBy, readPeerIdentity } from "./identity.ts";
import { type ControlSender, Introductions } from "./introductions.ts";
import {
  BACKGROUND_MS_PER_TURN,
  BURIAL_MS_PER_TURN,
  BYTES_PER_TURN,
  COSTLY_MS_PER_TURN,
  DISCARDED_PACKETS_MAX,
  HELLO_TIMEOUT_MS,
  PACKETS_PER_TURN,
  SOCKET_SEND_BUFFER_BYTES,
} from "./limits.ts";
import { PacketHandler, type PacketHost, type ReceivedPacket } from "./packet-handler.ts";
import { PacketPool } from "./packet-pool.ts";
import { PacketRest, PacketRests } from "./packet-rests.ts";
import type { Policy } from "./policy/rules.ts";
import { Quotas } from "./quota.ts";
import { limitsOfPolicy, QUOTA_DEFAULTS } from "./quota-limits.ts";
import { Requests } from "./requests.ts";
import { Retained } from "./retained/retained.ts";
import { Rights } from "./rights.ts";
import { Router, type RouterHost } from "./router.ts";
import { type PacketSink, QUEUE_FULL, SendQueue } from "./send-queue.ts";
import type { SocketWatch } from "./socket-watch.ts";
import { welcome } from "./welcome.ts";

const SINK: PacketSink = { sendPacket, sendPacketWithFds };

/** What sessions are made from. */
export interface SessionsOptions {
  readonly policy: Policy;
  /** The broker's effective uid. */
  readonly ownUid: number;
  /** Serve the broker's own uid alone, for want of a policy file. */
  readonly servesOwnUidOnly: boolean;
  /** What administrators may ask for. */
  readonly administration: AdministrationHost;
  readonly connectionsMax: number;
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
export class Sessions implements RouterHost, PacketHost, FlushHost, FdHost {
  /** Work that settle() does a little of each time. */
  readonly background = new Background();
  readonly #options: SessionsOptions;
  readonly #state: BusState;
  readonly #table: ConnectionTable;
  readonly #introductions: Introductions;
  readonly #handler: PacketHandler;
  readonly #rights: Rights;
  readonly #pool = new PacketPool();
  readonly #receiver = new PacketReceiver(new PinnedBuffer(PACKET_BYTES_MAX));
  readonly #flusher: Flusher;
  readonly #rests = new PacketRests();
  readonly #quotas: Quotas;
  readonly #retained: Retained;
  readonly #areas: readonly Area[];
  /** When this turn's time for costly work is up; 0 where none was asked for yet. */
  #costlyEndsAt = 0;
  /** Oldest first. */
  readonly #doomed = new Map<Connection, Cause | undefined>();

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#flusher = new Flusher(options.watch, this);
    this.#state = new BusState(options.policy, ({ id, identity }, denial) =>
      options.onEvent({ type: "would-deny", connection: id, identity, ...denial }),
    );
    this.#quotas = new Quotas(limitsOfPolicy(options.policy.limits, QUOTA_DEFAULTS));
    const { connectionsMax, servesOwnUidOnly: servesOneUid } = options;
    this.#table = new ConnectionTable({ connectionsMax, servesOneUid });
    this.#introductions = new Introductions(this.#send);
    const { ownUid, onEvent, now } = options;
    const administration = new Administration(
      this.#state,
      options.administration,
      ownUid,
      this.#send,
    );
    const fdGate = new FdGate(options.keepsFdsOut);
    const shared = { state: this.#state, fdGate, send: this.#send, onEvent };
    const retained = new Retained({
      ...shared,
      introductions: this.#introductions,
      host: this,
      now,
    });
    const { replay } = retained;
    const router = new Router(this.#state, this.#introductions, this, replay.giveBefore);
    const intake = new FdIntake({ ...shared, router, host: this });
    this.#retained = retained;
    this.#areas = [retained.area(router, intake)];
    const areas = this.#areas;
    const requests = new Requests({ ...shared, administration, areas, replay });
    this.#rights = new Rights({ ...shared, areas });
    this.#handler = new PacketHandler({
      router,
      requests,
      rights: this.#rights,
      intake,
      host: this,
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
   * @throws {SyscallError} where the kernel does not say who it is; the socket is closed then
   */
  adopt(fd: number): void {
    const socket = OwnedFd.adopt(fd);
    try {
      const identity = readPeerIdentity(fd, this.#options.identity);
      setSendBufferBytes(fd, SOCKET_SEND_BUFFER_BYTES);
      const connection = new Connection({
        ...this.#table.nextPlace(),
        socket,
        identity,
        queue: new SendQueue(fd, SINK, this.#pool),
        quota: this.#quotas.open(identity.uid),
        acceptedAt: this.#options.now(),
        policyGeneration: this.#state.policyGeneration,
      });
      const isOverLimit = !this.#table.hasRoomFor(identity.uid);
      this.#options.watch.add(connection);
      const evicted = this.#table.add(connection);
      this.#options.onEvent({ type: "connected", connection: connection.id, identity });
      if (evicted !== undefined) this.#end(evicted, tooManyAwaitingHello());
      if (isOverLimit) this.#end(connection, tooManyConnections());
      else if (!this.#isServed(identity.uid)) this.#end(connection, notOwner(identity.uid));
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /** Handles one readiness event of a connection's socket or lane. */
  ready(connection: Connection, events: number): void {
    if ((events & EPOLLOUT) !== 0) this.#flushMore(connection);
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
    if (connection.state !== "DOOMED") this.#flushMore(connection);
  }

  /** The kernel takes more of what waits for this connection. */
  #flushMore(connection: Connection): void {
    this.#flusher.flush(connection);
    this.#retained.replay.wake(connection);
  }

  /** Whether settle() has nothing to do before something happens. */
  get isSettled(): boolean {
    const hasWork = this.#rests.size > 0 || this.#doomed.size > 0;
    const isReplayed = this.#retained.replay.isIdle;
    return !hasWork && isReplayed && this.#flusher.isIdle && this.background.isIdle;
  }

  /**
   * Ends a turn: looks at the clock, sends what is queued, closes what is doomed. Where many died
   * at once, the next turns close the others: each must be told to all who heard of it.
   */
  settle(): void {
    this.#expireHellos();
    if (this.#rests.size > 0) this.#goOn();
    this.#costlyEndsAt = 0;
    if (!this.background.isIdle) this.background.run(this.#timer(BACKGROUND_MS_PER_TURN));
    this.#retained.work((milliseconds) => this.#timer(milliseconds));
    this.#flusher.flushAll();
    this.#retained.replay.endTurn();
    if (this.#doomed.size === 0) return;
    this.#bury(this.#timer(BURIAL_MS_PER_TURN));
    this.#flusher.flushAll();
  }

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
    this.#quotas.replaceLimits(limitsOfPolicy(policy.limits, QUOTA_DEFAULTS));
    this.background.add(this.#retained.sweep());
    this.background.add(this.#rights.sweep(this.#table.all()));
  }

  /** Ends connections that took too long to say HELLO. */
  #expireHellos(): void {
    for (;;) {
      const oldest = this.#table.oldestAwaitingHello();
      if (oldest === undefined || this.#helloDeadline() > this.#options.now()) return;
      this.#end(oldest, noHello());
    }
  }

  /** When settle() has to look at the clock again; Infinity for never. */
  nextDeadline(): number {
    return Math.min(this.#helloDeadline(), this.#retained.nextDeadline);
  }

  #helloDeadline(): number {
    const oldest = this.#table.oldestAwaitingHello();
    return oldest === undefined ? Number.POSITIVE_INFINITY : oldest.acceptedAt + HELLO_TIMEOUT_MS;
  }

  /** Closes what is doomed, while there is time; one connection at least. */
  #bury(hasTime: () => boolean): void {
    for (const [connection, cause] of this.#doomed) {
      this.#doomed.delete(connection);
      for (const area of this.#areas) area.leave(connection);
      this.#introductions.announceGone(connection, this.#state.leave(connection));
      this.#options.watch.remove(connection);
      this.#hangUp(connection.socket.number);
      connection.socket.close();
      connection.lane?.close();
      connection.quota.close();
      this.#table.remove(connection);
      const { id, identity } = connection;
      const { code, message } = cause ?? { code: undefined, message: undefined };
      this.#options.onEvent({ type: "disconnected", connection: id, identity, code, message });
      if (!hasTime()) return;
    }
  }

  /** Says goodbye to everybody and reads no more. hasQueued() tells when it has gone out. */
  sayGoodbye(): void {
    const message = "The broker is shutting down";
    const body = goodbyeBody({ status: STATUS.CLOSED_BY_BROKER, message });
    this.#rests.clear();
    this.#retained.replay.clear();
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
    this.#bury(() => true);
    this.#retained.close();
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

  /** FlushHost */
  evict(connection: Connection): void {
    this.#doom(connection, doesNotRead());
  }

  /** FlushHost */
  abandon(connection: Connection): void {
    this.#doom(connection, undefined);
  }

  /** FdHost */
  closeFd(fd: number): void {
    closeFd(fd);
  }

  /** FdHost */
  kindOfFd(fd: number, tellsReadOnly: boolean): FoundFdKind {
    return fdKind(fd, tellsReadOnly);
  }

  /** FdHost */
  isUnixSocket(fd: number): boolean {
    return getSocketDomain(fd) === AF_UNIX;
  }

  /** PacketHost */
  welcome(connection: Connection, hello: Hello): void {
    this.#table.noteHello(connection);
    connection.state = "OPEN";
    try {
      if (!welcome(connection, hello, this.#send)) this.#doom(connection, undefined);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      this.#end(connection, noFdsLeft(error));
    }
  }

  #isServed(uid: number): boolean {
    return !this.#options.servesOwnUidOnly || this.#options.ownUid === uid;
  }

  #readPackets(connection: Connection): void {
    const fd = connection.socket.number;
    let turnBytes = 0;
    for (let packets = 0; packets < PACKETS_PER_TURN; packets += 1) {
      const bytes = this.#receiver.receive(fd);
      if (bytes > 0) {
        turnBytes += bytes;
        if (this.#options.verifiesPackets && !isSentBy(connection.identity, this.#receiver)) {
          this.#receiver.closeFds();
          return this.#end(connection, anotherSender());
        }
        if (!this.#handle(connection, this.#receiver, bytes)) return;
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
  #end(
    connection: Connection,
    cause: Cause,
    fields: { offset?: number; protocol?: number | undefined } = {},
  ): void {
    if (connection.state === "DOOMED") return;
    const status = STATUS[cause.code as StatusName];
    const body = errorBody({ status, message: cause.message, ...fields });
    const frame = { opcode: OPCODE.ERROR, flags: FLAG_FATAL, id: 0, body };
    connection.queue.push(CONTROL_FRAME_BUFFER, encodeControlFrame(frame));
    this.#flusher.flush(connection);
    this.#doom(connection, cause);
  }

  #doom(connection: Connection, cause: Cause | undefined): void {
    if (connection.state === "DOOMED") return;
    this.#table.noteHello(connection);
    connection.state = "DOOMED";
    connection.queue.abandon();
    this.#rests.drop(connection);
    this.#doomed.set(connection, cause);
  }

  /**
   * Ends the stream so that the client can still read what it was sent: closing a socket with
   * unread packets would turn into ECONNRESET at the other end.
   */
  #hangUp(fd: number): void {
    shutdownBoth(fd);
    for (let packets = 0; packets < DISCARDED_PACKETS_MAX; packets += 1) {
      const bytes = this.#receiver.receive(fd);
      this.#receiver.closeFds();
      if (bytes < 0 && bytes !== RECORD_TRUNCATED) return;
    }
  }
}
