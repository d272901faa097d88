/**
 * One received packet: to the router if it holds only messages, else frame by frame. Decides what
 * is malformed and what becomes of the fds that came along. Touches no socket; the receive buffer
 * and the fds are handed in.
 */

import { ProtocolError } from "../../errors.ts";
import type { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import type { Hello } from "../../protocol/control-messages.ts";
import { FRAME_ID_WORD, FRAME_KIND_WORD, flagsOf, opcodeOf } from "../../protocol/frame.ts";
import { FRAME_HEADER_BYTES } from "../../protocol/limits.ts";
import { OPCODE } from "../../protocol/opcodes.ts";
import { isLarge, PacketReader } from "../../protocol/packet.ts";
import type { ClientFrame } from "../area.ts";
import { type Connection, type OpenTopic, openTopicOf } from "../connection.ts";
import type { FdIntake } from "../fds/fd-intake.ts";
import type { Chores } from "../long-work/chores.ts";
import type { Request, Requests } from "../requests/requests.ts";
import type { Rights } from "../requests/rights.ts";
import { NOT_PLAIN, type Router } from "../routing/router.ts";
import type { Services } from "../services/services.ts";

/** An id that no topic has: TopicTable never gives it. */
const NO_TOPIC = 0;

/** A packet as the kernel delivered it. PacketReceiver of src/ffi fits. */
export interface ReceivedPacket {
  /** Holds the packet from offset 0. */
  readonly buffer: PinnedBuffer;
  readonly receivedFdCount: number;
  /** Some fds did not arrive, because the process may hold no more. */
  readonly controlTruncated: boolean;
  /**
   * It is what was left of a packet that was checked whole, or has fds for which room was found;
   * undefined for false.
   */
  readonly isRest?: boolean;
  /** Hands the fds over to the caller. */
  takeFds(): number[];
  /** Closes fds that were not taken. */
  closeFds(): number;
}

/** What the handler needs of the process around it. */
export interface PacketHost {
  /** Whether this turn has time for more costly work. */
  hasTime(): boolean;
  /**
   * The packet being handled comes again, with its fds; these are the host's.
   * @param paid how many of them their sender is charged for
   * @returns false where they do not fit what it may hold: then they are still the packet's
   */
  keepFds(connection: Connection, packet: ReceivedPacket, paid: number): boolean;
  /** A connection said a good HELLO and waits for WELCOME. */
  welcome(connection: Connection, hello: Hello): void;
}

/** What a handler is made from. */
export interface PacketHandlerParts {
  readonly router: Router;
  readonly requests: Requests;
  readonly rights: Rights;
  readonly chores: Chores;
  readonly intake: FdIntake;
  readonly services: Pick<Services, "routePacket" | "noteLostFds">;
  readonly host: PacketHost;
}

/** Handles packets. One for a broker; not reentrant. */
export class PacketHandler {
  readonly #router: Router;
  readonly #requests: Requests;
  readonly #rights: Rights;
  readonly #chores: Chores;
  readonly #intake: FdIntake;
  readonly #services: Pick<Services, "routePacket" | "noteLostFds">;
  readonly #host: PacketHost;
  readonly #reader = new PacketReader();

  constructor(parts: PacketHandlerParts) {
    this.#router = parts.router;
    this.#requests = parts.requests;
    this.#rights = parts.rights;
    this.#chores = parts.chores;
    this.#intake = parts.intake;
    this.#services = parts.services;
    this.#host = parts.host;
  }

  /**
   * Handles one packet. Afterwards no fd of it is left in `packet`.
   * @param packetBytes 1 or more
   * @returns bytes handled: less than `packetBytes` where the turn's time is up or a subscriber holds
   *   the sender back, and then the rest is to come again, as a packet with isRest, before anything
   *   else of this connection; 0 also where there is a chore to be finished first
   * @throws {ProtocolError} the sender broke the protocol: drop it, and nobody else
   */
  handle(connection: Connection, packet: ReceivedPacket, packetBytes: number): number {
    if (this.#rights.areStale(connection)) this.#rights.refresh(connection);
    try {
      const isFirst = connection.state === "AWAIT_HELLO";
      const hasFds = packet.receivedFdCount > 0 || packet.controlTruncated;
      if (hasFds && !isFirst && !this.#intake.hasRoomFor(packet)) {
        const { words } = packet.buffer;
        const request = this.#services.noteLostFds(connection, words, packetBytes);
        this.#intake.refuseForWantOfRoom(connection, request);
        return packetBytes;
      }
      if (connection.chore !== undefined && !this.#chores.finish(connection, this.#host)) {
        return hasFds ? this.#keep(connection, packet, packetBytes) : 0;
      }
      if (isFirst) {
        this.#handleFirst(connection, packet, packetBytes);
        return packetBytes;
      }
      if (hasFds) return this.#handleWithFds(connection, packet, packetBytes);
      const routed = this.#routePlain(connection, packet.buffer, packetBytes);
      return routed === NOT_PLAIN ? this.#handleFrames(connection, packet, packetBytes) : routed;
    } finally {
      packet.closeFds();
    }
  }

  /** The usual cases: nothing but messages, or but calls. @returns as Router.routePacket() */
  #routePlain(connection: Connection, buffer: PinnedBuffer, packetBytes: number): number {
    if (packetBytes % 8 !== 0) return NOT_PLAIN;
    const routed = this.#router.routePacket(connection, buffer, packetBytes);
    if (routed !== NOT_PLAIN) return routed;
    return this.#services.routePacket(connection, buffer, packetBytes);
  }

  #handleFirst(connection: Connection, packet: ReceivedPacket, packetBytes: number): void {
    const { buffer } = packet;
    this.#read(buffer, packetBytes, packet.receivedFdCount);
    const frame = frameAt(buffer, 0, false);
    if (frame.opcode !== OPCODE.HELLO || this.#reader.frameCount !== 1) {
      const message = "Cannot serve client: its first packet must be HELLO alone";
      throw new ProtocolError("PROTOCOL_STATE", message, 0);
    }
    this.#host.welcome(connection, this.#requests.readHello(frame));
  }

  /**
   * Messages and control frames mixed. All of it is read before any of it takes effect.
   * @returns as handle()
   */
  #handleFrames(connection: Connection, packet: ReceivedPacket, packetBytes: number): number {
    const { buffer } = packet;
    const frameCount = this.#read(buffer, packetBytes, 0);
    const { offsets } = this.#reader;
    const requests = this.#readRequests(connection, packet, frameCount);
    const offsetOf = (frame: number) => (frame < frameCount ? (offsets[frame] ?? 0) : packetBytes);
    let index = 0;
    for (const request of requests) {
      const stop = this.#router.routeStretch(connection, buffer, offsetOf(index), packetBytes);
      while (offsetOf(index) < stop) index += 1;
      // Still a message: the router's time was up. One that is kept as well may have to wait, too.
      if (opcodeAt(buffer, offsetOf(index)) === OPCODE.MESSAGE) return stop;
      if (this.#mustRetainWait(connection, buffer, offsetOf(index))) return offsetOf(index);
      this.#requests.carryOut(connection, request);
      index += 1;
      if (!this.#host.hasTime()) return offsetOf(index);
    }
    if (index >= frameCount) return packetBytes;
    return this.#router.routeStretch(connection, buffer, offsetOf(index), packetBytes);
  }

  /** The packet's control frames in order, with every message's topic found open. */
  #readRequests(connection: Connection, packet: ReceivedPacket, frameCount: number): Request[] {
    const { buffer, isRest = false } = packet;
    const requests: Request[] = [];
    const closed = new Set<number>();
    for (let index = 0; index < frameCount; index += 1) {
      const frame = frameAt(buffer, this.#reader.offsets[index] as number, isRest);
      if (frame.opcode === OPCODE.MESSAGE) {
        openTopicOf(connection, closed.has(frame.id) ? NO_TOPIC : frame.id, frame.offset);
        continue;
      }
      if (frame.opcode === OPCODE.RETAIN && closed.has(frame.id)) {
        openTopicOf(connection, NO_TOPIC, frame.offset);
      }
      const request = this.#requests.read(connection, frame);
      if (request.opcode === OPCODE.CLOSE_TOPIC) {
        // In a rest it may be the second one, whose topic was open when the packet was checked.
        if (!isRest) openTopicOf(connection, frame.id, frame.offset);
        closed.add(request.topicId);
      }
      requests.push(request);
    }
    return requests;
  }

  /**
   * A packet with fds holds one frame, which may carry them: read() sees to that.
   * @returns as handle(): all of it, or nothing
   */
  #handleWithFds(connection: Connection, packet: ReceivedPacket, packetBytes: number): number {
    const { buffer } = packet;
    this.#read(buffer, packetBytes, packet.receivedFdCount);
    if (opcodeAt(buffer, 0) === OPCODE.MESSAGE) {
      const open = openTopicOf(connection, buffer.words[FRAME_ID_WORD] as number, 0);
      if (this.#router.mustWait(connection, open)) {
        return this.#keep(connection, packet, packetBytes, open);
      }
      this.#intake.take(connection, open, packet, packetBytes);
      return packetBytes;
    }
    if (this.#mustRetainWait(connection, buffer, 0)) {
      const open = openTopicOf(connection, buffer.words[FRAME_ID_WORD] as number, 0);
      return this.#keep(connection, packet, packetBytes, open);
    }
    const frame = frameAt(buffer, 0, packet.isRest === true);
    this.#intake.lend(connection, packet, (bundle) => {
      const request = this.#requests.read(connection, { ...frame, bundle });
      this.#requests.carryOut(connection, request);
    });
    return packetBytes;
  }

  /**
   * The packet comes again, with its fds; or is refused, where its sender has too many. Where they do
   * not fit its quota, it pays for the copies alone that would be made of them now: nothing that
   * waits is refused for files that go to nobody.
   * @param open the topic of a message that a subscriber holds back; undefined where the packet waits
   *   for something else
   * @returns as handle(): nothing, or all of it
   */
  #keep(
    connection: Connection,
    packet: ReceivedPacket,
    packetBytes: number,
    open?: OpenTopic,
  ): number {
    const { receivedFdCount: count, buffer } = packet;
    if (this.#host.keepFds(connection, packet, count)) return 0;
    const bodies = isLarge(buffer.words[FRAME_KIND_WORD] as number) ? 1 : 0;
    const fds = { count, fileCount: count - bodies };
    const copies = open === undefined ? 0 : this.#router.countCopies(connection, open, fds);
    if (copies < count && this.#host.keepFds(connection, packet, copies)) return 0;
    const request = this.#services.noteLostFds(connection, buffer.words, packetBytes);
    const topic = (open ?? topicOfUnread(connection, buffer, packetBytes))?.topic.name;
    this.#intake.refuseToKeep(connection, { topic, fds: count, requestId: request });
    return packetBytes;
  }

  /** Whether a frame is a message that is kept as well, and that a subscriber holds back for now. */
  #mustRetainWait(connection: Connection, buffer: PinnedBuffer, offset: number): boolean {
    if (opcodeAt(buffer, offset) !== OPCODE.RETAIN) return false;
    const id = buffer.words[(offset >>> 2) + FRAME_ID_WORD] as number;
    return this.#router.mustWait(connection, openTopicOf(connection, id, offset));
  }

  #read(buffer: PinnedBuffer, packetBytes: number, receivedFds: number): number {
    return this.#reader.read(buffer.words, buffer.bytes, packetBytes, receivedFds, "client");
  }
}

function opcodeAt(buffer: PinnedBuffer, offset: number): number {
  return opcodeOf(buffer.words[(offset >>> 2) + FRAME_KIND_WORD] as number);
}

/** The topic of a packet that nobody has checked yet, where it is a message on an open one. */
function topicOfUnread(
  { openTopics }: Connection,
  { words }: PinnedBuffer,
  packetBytes: number,
): OpenTopic | undefined {
  if (packetBytes < FRAME_HEADER_BYTES) return undefined;
  const opcode = opcodeOf(words[FRAME_KIND_WORD] as number);
  if (opcode !== OPCODE.MESSAGE && opcode !== OPCODE.RETAIN) return undefined;
  return openTopics.get(words[FRAME_ID_WORD] as number);
}

function frameAt(buffer: PinnedBuffer, offset: number, isRest: boolean): ClientFrame {
  const word = offset >>> 2;
  const kind = buffer.words[word + FRAME_KIND_WORD] as number;
  return {
    opcode: opcodeOf(kind),
    flags: flagsOf(kind),
    id: buffer.words[word + FRAME_ID_WORD] as number,
    buffer,
    bytes: buffer.bytes,
    offset,
    frameBytes: buffer.words[word] as number,
    isRest,
    bundle: undefined,
  };
}
