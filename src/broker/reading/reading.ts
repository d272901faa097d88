/**
 * Reads what clients send: so many packets of each a turn, what was too costly in the turns after,
 * and nothing more for now of those who are held back. What a packet means is packet-handler.ts's;
 * what becomes of a client that breaks the rules is sessions.ts's.
 */

import { ProtocolError, SyscallError } from "../../errors.ts";
import type { PacketReceiver } from "../../ffi/ancillary.ts";
import { RECORDS_RECEIVED_TOGETHER_MAX } from "../../ffi/received-records.ts";
import { PEER_CLOSED, RECORD_TRUNCATED, WOULD_BLOCK } from "../../ffi/syscall-result.ts";
import { MESSAGE_FDS_MAX, PACKET_BYTES_MAX } from "../../protocol/limits.ts";
import type { ClientFiles } from "../closing/client-files.ts";
import type { FdCloser } from "../closing/fd-closer.ts";
import type { Connection } from "../connection.ts";
import { anotherSender, type Cause } from "../departures/endings.ts";
import type { FdBudget } from "../fds/fd-budget.ts";
import type { FdsInFlight } from "../fds/fds-in-flight.ts";
import { KeptFds } from "../fds/kept-fds.ts";
import { isSentBy } from "../identity/identity.ts";
import type { BackPressure } from "./back-pressure.ts";
import type { HeldOff } from "./held-off.ts";
import type { Holdup } from "./held-publishers.ts";
import {
  AHEAD_OF_BYTES_MAX,
  BYTES_PER_TURN,
  PACKETS_PER_LOOK,
  PACKETS_PER_TURN,
} from "./limits.ts";
import type { PacketHandler, ReceivedPacket } from "./packet-handler.ts";
import { PacketRest, type PacketRests } from "./packet-rests.ts";
import type { PacketSource } from "./packet-source.ts";

/** What becomes of clients. */
export interface ReadingHost {
  /** Whether this turn has time for more costly work. */
  hasTime(): boolean;
  /** Whether the user of the connection that is read has some of its share of this turn left. */
  hasShareLeft(): boolean;
  /** The client is to be told why, and closed. */
  end(connection: Connection, cause: Cause): void;
  /** The client broke the protocol. */
  endForProtocol(connection: Connection, error: ProtocolError): void;
  /** The client has gone. */
  doom(connection: Connection): void;
}

/** What packets are read with. */
export interface ReadingParts {
  readonly source: PacketSource;
  readonly handler: PacketHandler;
  readonly rests: PacketRests;
  readonly backPressure: BackPressure;
  readonly files: Pick<ClientFiles, "keep" | "keepPaid" | "roomToKeep">;
  readonly closer: Pick<FdCloser, "isFull" | "pendingOf">;
  readonly budget: Pick<FdBudget, "roomForFds">;
  readonly heldOff: Pick<HeldOff, "add" | "drop">;
  readonly inFlight: Pick<FdsInFlight, "follow" | "turn">;
  /** Whether each packet must come from the process that connected. */
  readonly verifiesPackets: boolean;
  readonly host: ReadingHost;
}

/** Reads from all connections of one broker. Not reentrant. */
export class Reading {
  readonly #parts: ReadingParts;
  /** Who holds the sender of the packet that is being handled back; undefined for nobody. */
  #holdup: Holdup | undefined;
  /** The fds of that packet. */
  #keptFds: KeptFds | undefined;
  /** Packets of this connection and turn since the clock was looked at. */
  #packetsUnlooked = 0;

  constructor(parts: ReadingParts) {
    this.#parts = parts;
  }

  /**
   * Reads what a connection has to say, unless something is left of before.
   * @param isEnding the client has gone: what it left is read as far as this turn allows
   */
  read(connection: Connection, isEnding: boolean): void {
    const { rests, inFlight } = this.#parts;
    // What it sent before comes first.
    if (rests.has(connection)) return;
    // Most who were silent have sent one packet. It goes on its way before anything asks for a second
    // one, which epoll tells of if it is there: then it is read with all that follow. Where others of
    // its user wait as well it has not been read in each turn, and that says nothing.
    const wasSilent = connection.readInTurn !== inFlight.turn - 1;
    connection.readInTurn = inFlight.turn;
    const isAlone = connection.userTurn?.isEmpty !== false;
    const readsOne = wasSilent && isAlone && !isEnding && connection.state === "OPEN";
    if (wasSilent) connection.sendsMany = false;
    try {
      this.#readPackets(connection, readsOne ? 1 : PACKETS_PER_TURN);
    } catch (error) {
      this.#fail(connection, error);
    }
    this.#parts.source.dropAhead();
    this.#parts.inFlight.follow = false;
  }

  /** Goes on with what was too costly of a connection's packets, or was received behind that. */
  goOn(connection: Connection): void {
    const { rests, inFlight } = this.#parts;
    const rest = rests.take(connection);
    if (rest === undefined) return;
    try {
      this.#goOnWith(connection, rest);
    } catch (error) {
      this.#fail(connection, error);
    }
    inFlight.follow = false;
  }

  /** Handles a rest, and what was received behind it; with what follows only while there is time. */
  #goOnWith(connection: Connection, rest: PacketRest): void {
    const { rests, inFlight, host } = this.#parts;
    for (let packet: PacketRest | undefined = rest; packet !== undefined; ) {
      if (!this.#handle(connection, packet, packet.buffer.byteLength)) return;
      packet = rests.shiftBehind(connection);
      if (packet === undefined && rests.isEndedBehind(connection)) return host.doom(connection);
      inFlight.follow = packet !== undefined;
      if (packet !== undefined && !host.hasTime()) return rests.push(connection, packet);
    }
  }

  /** The packet that is being handled stops where it is, until one of these subscribers has read. */
  noteHeld(by: readonly Connection[], topic: string): void {
    this.#holdup = { by, topic };
  }

  /**
   * Keeps the fds of that packet, which come again with it; one that has waited before keeps its place.
   * @param paid how many of them their sender is charged for
   * @returns false where they do not fit what it may hold
   */
  keepFds(connection: Connection, packet: ReceivedPacket, paid: number): boolean {
    const before = packet instanceof PacketRest ? packet.takePaidFds() : undefined;
    this.#keptFds = before ?? this.#parts.files.keepPaid(packet, connection, paid);
    return this.#keptFds !== undefined;
  }

  /** The connection ends: what it had left to say is dropped, and nobody waits for it. */
  leave(connection: Connection): void {
    const { rests, heldOff, backPressure } = this.#parts;
    rests.drop(connection);
    heldOff.drop(connection);
    backPressure.leave(connection);
  }

  /** Nothing is handled any more. */
  clear(): void {
    this.#parts.rests.clear();
    this.#parts.backPressure.clear();
  }

  /** A packet could not be handled. @throws what is no fault of the client or its socket */
  #fail(connection: Connection, error: unknown): void {
    const { host } = this.#parts;
    if (error instanceof ProtocolError) host.endForProtocol(connection, error);
    else if (error instanceof SyscallError) host.doom(connection);
    else throw error;
  }

  #readPackets(connection: Connection, packetsMax: number): void {
    const { source, inFlight, verifiesPackets, host } = this.#parts;
    let turnBytes = 0;
    let areMany = connection.sendsMany;
    // Until some have come: receiving several says nothing of a socket that has failed, one does.
    connection.sendsMany = false;
    let haveFds = false;
    let goesOn = true;
    this.#packetsUnlooked = 0;
    for (let packets = 0; goesOn && packets < packetsMax; packets += 1) {
      if (source.ahead === 0 && turnBytes >= BYTES_PER_TURN) return;
      const bytes = this.#next(connection, areMany ? packetsMax - packets : 1);
      if (bytes === PEER_CLOSED) return host.doom(connection);
      if (bytes === RECORD_TRUNCATED) throw tooManyBytes();
      if (bytes < 0) return;
      const { packet } = source;
      turnBytes += bytes;
      const isSmall = packets > 0 && bytes <= AHEAD_OF_BYTES_MAX;
      haveFds ||= packet.receivedFdCount > 0;
      areMany = isSmall || packet.receivedFdCount > 0;
      // Too many fds of one packet are then closed before those of the next come.
      connection.sendsMany = isSmall && !haveFds;
      // The first message leaves at once; a second one means that there are many.
      inFlight.follow = packets > 0;
      if (verifiesPackets && !this.#isOwn(connection, packet)) return;
      if (!this.#handle(connection, packet, bytes)) return;
      goesOn = this.#goesOn(bytes);
    }
  }

  /** Whether a client itself has sent a packet; it is ended where somebody else has. */
  #isOwn(connection: Connection, packet: PacketReceiver): boolean {
    if (isSentBy(connection.identity, packet)) return true;
    packet.closeFds();
    this.#parts.host.end(connection, anotherSender());
    return false;
  }

  /** Looks at the clock behind a large packet, and behind so many small ones, once none is ahead. */
  #goesOn(bytes: number): boolean {
    const { source, host } = this.#parts;
    this.#packetsUnlooked += 1;
    if (source.ahead > 0) return true;
    if (bytes <= AHEAD_OF_BYTES_MAX && this.#packetsUnlooked < PACKETS_PER_LOOK) return true;
    this.#packetsUnlooked = 0;
    return host.hasShareLeft();
  }

  /** The next one that is ahead; else receives, unless too many files of the user are to be closed. */
  #next(connection: Connection, packetsMax: number): number {
    const { source, closer, heldOff } = this.#parts;
    if (source.ahead > 0) return source.next();
    if (!closer.isFull(connection.identity.uid)) return this.#receive(connection, packetsMax);
    heldOff.add(connection);
    return WOULD_BLOCK;
  }

  /**
   * Receives the next packet, and as many as may be ahead behind it by the same call.
   * @param packetsMax 1 or more
   * @returns as PacketSource.receive()
   */
  #receive({ socket, identity }: Connection, packetsMax: number): number {
    const { source } = this.#parts;
    if (packetsMax > 1 && source.isDrained) return WOULD_BLOCK;
    const count = packetsMax > 1 ? this.#aheadMax(identity.uid, packetsMax) : 1;
    if (count > 1) return source.receiveAhead(socket.number, identity.uid, count);
    return source.receive(socket.number, identity.uid);
  }

  /**
   * How many packets may be received by one call. Whatever fds they have must find room, as each is
   * handled as if it had been received alone; and must fit what their user may hold, since a subscriber
   * may hold the first back, and them with it. Where the user's files do not close at once, or each
   * packet must be its sender's, one is looked at before the next comes.
   */
  #aheadMax(uid: number, packetsMax: number): number {
    const { budget, closer, files, verifiesPackets } = this.#parts;
    if (verifiesPackets || closer.pendingOf(uid) > 0) return 1;
    const room = Math.min(budget.roomForFds, files.roomToKeep(uid));
    const fitting = Math.floor(room / MESSAGE_FDS_MAX);
    return Math.min(packetsMax, RECORDS_RECEIVED_TOGETHER_MAX, fitting);
  }

  /** @returns false where the connection has ended, or some of the packet is left for later */
  #handle(connection: Connection, packet: ReceivedPacket, packetBytes: number): boolean {
    const { handler, rests, backPressure } = this.#parts;
    this.#holdup = undefined;
    this.#keptFds = undefined;
    const handled = handler.handle(connection, packet, packetBytes);
    if (handled === packetBytes) return connection.state !== "DOOMED";
    const holdup = this.#holdup;
    const fds = this.#keptFds ?? KeptFds.none();
    if (connection.state === "DOOMED") {
      fds.close();
      return false;
    }
    const rest = PacketRest.of(packet, handled, packetBytes, fds);
    if (holdup === undefined) rests.push(connection, rest);
    else backPressure.hold(connection, rest, holdup);
    this.#keepAhead(connection);
    return false;
  }

  /**
   * Keeps what was received ahead, behind the rest of the packet before it. The client's
   * socket, which held it, may be filled again meanwhile; #aheadMax() bounds the fds that this adds.
   */
  #keepAhead(connection: Connection): void {
    const { source, files, rests } = this.#parts;
    while (source.ahead > 0) {
      const bytes = source.next();
      if (bytes === RECORD_TRUNCATED) throw tooManyBytes();
      // The end, also where it is an empty record. read() closes what stands behind it.
      if (bytes === PEER_CLOSED) return rests.endBehind(connection);
      const { packet } = source;
      const fds = files.keep(packet.takeFds(), connection.identity.uid);
      rests.pushBehind(connection, new PacketRest(packet, 0, bytes, fds));
    }
  }
}

function tooManyBytes(): ProtocolError {
  const message = `Cannot read packet: it has more than ${PACKET_BYTES_MAX} bytes`;
  return new ProtocolError("PROTOCOL_PACKET_SIZE", message, 0);
}
