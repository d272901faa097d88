/**
 * What is left of packets that were too costly for one turn, or that a subscriber holds back: their
 * frames from some point on, kept until their turn comes. One for a connection at most, since it is
 * not read from meanwhile; behind it stand packets that had been received ahead. All of a rest was
 * found well-formed before any of the packet took effect; a packet that had to wait before anything of
 * it was looked at comes again as it was.
 */

import { copyPinned, PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import type { Connection } from "../connection.ts";
import { KeptFds } from "../fds/kept-fds.ts";
import type { ReceivedPacket } from "./packet-handler.ts";

/** The rest of one packet, handled like a packet. */
export class PacketRest implements ReceivedPacket {
  readonly buffer: PinnedBuffer;
  /** Some fds of the packet did not arrive: it is still to be refused. */
  readonly controlTruncated: boolean;
  readonly isRest: boolean;
  #fds: KeptFds;

  /**
   * @param packet borrowed
   * @param from bytes that were handled already; with 0 it is the packet itself, which need not have
   *   been checked, but for whether there is room for its fds
   * @param fds its own from here on
   */
  constructor(packet: ReceivedPacket, from: number, packetBytes: number, fds: KeptFds) {
    this.buffer = new PinnedBuffer(packetBytes - from);
    copyPinned(packet.buffer, from, this.buffer, 0, packetBytes - from);
    this.controlTruncated = packet.controlTruncated;
    const hasRoom = fds.count > 0 && !packet.controlTruncated;
    this.isRest = from > 0 || hasRoom || packet.isRest === true;
    this.#fds = fds;
  }

  /**
   * What is left of a packet, which may be such a rest itself.
   * @param fds as for the constructor
   */
  static of(packet: ReceivedPacket, from: number, packetBytes: number, fds: KeptFds): PacketRest {
    // A publisher may be held back again and again, and then nothing need be copied.
    if (packet instanceof PacketRest && from === 0) {
      packet.#fds = fds;
      return packet;
    }
    return new PacketRest(packet, from, packetBytes, fds);
  }

  get receivedFdCount(): number {
    return this.#fds.count;
  }

  takeFds(): number[] {
    return this.#fds.take();
  }

  closeFds(): number {
    return this.#fds.close();
  }

  /** Hands over the fds as they are kept, where their sender pays for them; else undefined. */
  takePaidFds(): KeptFds | undefined {
    if (!this.#fds.isPaid) return undefined;
    const fds = this.#fds;
    this.#fds = KeptFds.none();
    return fds;
  }
}

/** Rests by connection. */
export class PacketRests {
  /** Told of each connection that has a rest from now on. */
  onPushed: (connection: Connection) => void = () => {};
  readonly #rests = new Map<Connection, PacketRest>();
  /** Packets that come behind the rest of a connection, which may be held back elsewhere. */
  readonly #behind = new Map<Connection, PacketRest[]>();
  /** Connections of which all that came is there: the end was received behind it. */
  readonly #ended = new Set<Connection>();

  get size(): number {
    return this.#rests.size;
  }

  has(connection: Connection): boolean {
    return this.#rests.has(connection);
  }

  /** Keeps a rest. */
  push(connection: Connection, rest: PacketRest): void {
    this.#rests.set(connection, rest);
    this.onPushed(connection);
  }

  /** Hands over the rest of a connection, if it has one. */
  take(connection: Connection): PacketRest | undefined {
    const rest = this.#rests.get(connection);
    if (rest !== undefined) this.#rests.delete(connection);
    return rest;
  }

  /** Keeps a packet behind what is left of a connection's packet, and behind others kept so. */
  pushBehind(connection: Connection, packet: PacketRest): void {
    const packets = this.#behind.get(connection);
    if (packets === undefined) this.#behind.set(connection, [packet]);
    else packets.push(packet);
  }

  /** The client has ended, behind all that is kept of it. */
  endBehind(connection: Connection): void {
    this.#ended.add(connection);
  }

  /** Whether that is so; asked once nothing is left of it. */
  isEndedBehind(connection: Connection): boolean {
    return this.#ended.has(connection);
  }

  /** Hands over the next packet behind a rest, which is done. */
  shiftBehind(connection: Connection): PacketRest | undefined {
    const packets = this.#behind.get(connection);
    const next = packets?.shift();
    if (packets?.length === 0) this.#behind.delete(connection);
    return next;
  }

  /** The connection ends. */
  drop(connection: Connection): void {
    this.#rests.get(connection)?.closeFds();
    this.#rests.delete(connection);
    for (const packet of this.#behind.get(connection) ?? []) packet.closeFds();
    this.#behind.delete(connection);
    this.#ended.delete(connection);
  }

  /** Nothing is handled any more. */
  clear(): void {
    for (const rest of this.#rests.values()) rest.closeFds();
    this.#rests.clear();
    for (const packets of this.#behind.values()) for (const packet of packets) packet.closeFds();
    this.#behind.clear();
    this.#ended.clear();
  }
}
