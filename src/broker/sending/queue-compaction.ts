/**
 * Drops queued messages that their subscriber said may go, and leaves word of them in their places.
 *
 *   before   T a1 a2 b1 c1 a3 c2 a4        a: latest-per-topic   b: drop-oldest   c: drop-newest
 *   after    T [3 a superseded] a4 …       a4 stands where it stood, the gap just before it
 *            T [1 b dropped] c1 c2 a4      b1 goes only where the queue is still too long
 *
 * Invariants: frames that are no messages, messages of other policies, and messages from before the
 * id was given to another topic stay, in order; of each topic the gaps and the messages that are
 * left count every message once, in its place. Pure but for the packet pool.
 */

import { decodeGapBody, type GapBody } from "../../protocol/control-messages.ts";
import { flagsOf, opcodeOf, paddedBytes } from "../../protocol/frame.ts";
import { FRAME_HEADER_BYTES } from "../../protocol/limits.ts";
import { FLAG_FDS_ON_LANE, GAP_REASON, OPCODE } from "../../protocol/opcodes.ts";
import type { OverflowPolicy } from "../../protocol/words.ts";
import { CONTROL_FRAME_BUFFER } from "./control-frames.ts";
import { encodeGap } from "./frame-marks.ts";
import { GapLedger, SEVERAL_TOPICS } from "./gap-ledger.ts";
import { GAP_TOPICS_MAX } from "./limits.ts";
import { LossTally } from "./loss-tally.ts";
import { PacketList } from "./packet-list.ts";
import type { PacketShare, QueuedPacket } from "./packet-pool.ts";
import type { QueueLoad } from "./queue-room.ts";

/** How much may be left. */
export interface CompactionTarget extends QueueLoad {
  /** The newest message of a topic stays as long as no more bytes wait. */
  readonly latestBytes: number;
}

/** What happens to the messages of a topic id; undefined for what must stay. */
export type OverflowOf = (topicId: number) => OverflowPolicy | undefined;

/** What is left, and what not. */
export interface CompactedPackets {
  readonly kept: QueuedPacket[];
  /** Packets with fds, whole: the caller's to give back. */
  readonly dropped: QueuedPacket[];
  /** Messages that were dropped. */
  readonly lost: LossTally;
  /** Whether more may go, to get below a lower target. */
  readonly mayLoseMore: boolean;
}

/** What becomes of one frame. */
const KEEP = 0;
/** A message that a newer one of its topic stands for. */
const SUPERSEDED = 1;
/** A message that goes where the queue is too long. */
const MAY_GO = 2;
/** The same, and it is the newest of its topic. */
const LATEST = 3;
/** Word of messages that are superseded: it moves to the one that stands for them. */
const TOLD_SUPERSEDED = 4;
/** Word of messages that were dropped: it moves to where dropping ends. */
const TOLD_DROPPED = 5;

/** What the parts of a compaction are about. */
export interface CompactionParts {
  readonly overflowOf: OverflowOf;
  /** Gets back what is emptied. */
  readonly pool: PacketShare;
  readonly target: CompactionTarget;
}

/**
 * Drops what may go until no more waits than is to be left, or nothing more may go.
 * @param packets oldest first; handed over
 */
export function compactPackets(
  packets: readonly QueuedPacket[],
  parts: CompactionParts,
): CompactedPackets {
  return new Compaction(packets, parts).run();
}

class Compaction {
  readonly #packets: readonly QueuedPacket[];
  readonly #overflowOf: OverflowOf;
  readonly #pool: PacketShare;
  readonly #target: CompactionTarget;
  readonly #out: PacketList;
  readonly #withFdsDropped: QueuedPacket[] = [];
  readonly #lost = new LossTally();
  /** Frames are numbered from 0 on, over all packets. The last TOPIC frame of an id. */
  readonly #renamedAt = new Map<number, number>();
  /** The last message of an id whose topic keeps the latest. */
  readonly #newest = new Map<number, number>();
  /** Messages that a newer one stands for, by topic; of those without a place here, under 0. */
  readonly #superseded = new Map<number, number>();
  readonly #dropped = new GapLedger();
  /** Messages in a row that were dropped and are not in there yet. */
  #droppedId = SEVERAL_TOPICS;
  #droppedCount = 0;
  #bytes = 0;
  #fds = 0;
  #memoryBytes = 0;
  /** False once enough was dropped: from there on the oldest stays. */
  #isDropping = true;
  /** Something stays that might go. */
  #mayLoseMore = false;
  #frame = 0;
  /** What is known of the last id that was looked up: neighbours often have the same. */
  #lastId = -1;
  #lastOverflow: OverflowPolicy | undefined;
  #lastRenamedAt = -1;

  constructor(packets: readonly QueuedPacket[], { overflowOf, pool, target }: CompactionParts) {
    this.#packets = packets;
    this.#overflowOf = overflowOf;
    this.#pool = pool;
    this.#target = target;
    this.#out = new PacketList(pool);
  }

  run(): CompactedPackets {
    this.#findNewest();
    this.#lastId = -1;
    if (this.#newest.size > 0) this.#countSuperseded();
    this.#frame = 0;
    for (const packet of this.#packets) this.#pass(packet);
    this.#tellDropped();
    const { packets: kept } = this.#out;
    const mayLoseMore = this.#mayLoseMore;
    return { kept, dropped: this.#withFdsDropped, lost: this.#lost, mayLoseMore };
  }

  #findNewest(): void {
    for (const packet of this.#packets) {
      this.#bytes += packet.bytes;
      this.#memoryBytes += packet.memoryBytes;
      if (packet.bundle !== undefined) this.#fds += packet.fds.length;
      const { words } = packet.buffer;
      for (let at = 0; at < packet.bytes; at += paddedBytes(words[at >>> 2] as number)) {
        const kind = words[(at >>> 2) + 1] as number;
        const opcode = opcodeOf(kind);
        const id = words[(at >>> 2) + 2] as number;
        if (opcode === OPCODE.TOPIC) this.#renamedAt.set(id, this.#frame);
        else if (opcode === OPCODE.MESSAGE && (flagsOf(kind) & FLAG_FDS_ON_LANE) === 0) {
          if (id !== this.#lastId) this.#lookUp(id);
          if (this.#lastOverflow === "latest-per-topic") this.#newest.set(id, this.#frame);
        }
        this.#frame += 1;
      }
    }
  }

  /** Word of superseded messages stands before the one that stands for them, so count them first. */
  #countSuperseded(): void {
    this.#frame = 0;
    for (const packet of this.#packets) {
      const { words } = packet.buffer;
      for (let at = 0; at < packet.bytes; at += paddedBytes(words[at >>> 2] as number)) {
        const fate = this.#fateOf(packet, at);
        const id = words[(at >>> 2) + 2] as number;
        if (fate === SUPERSEDED) {
          this.#addSuperseded(id, 1);
          this.#subtract(packet, paddedBytes(words[at >>> 2] as number));
        } else if (fate === TOLD_SUPERSEDED) this.#addSuperseded(id, gapAt(packet, at).count);
        this.#frame += 1;
      }
    }
  }

  #addSuperseded(id: number, count: number): void {
    const isNamed = this.#superseded.has(id) || this.#superseded.size < GAP_TOPICS_MAX;
    const key = isNamed ? id : SEVERAL_TOPICS;
    this.#superseded.set(key, (this.#superseded.get(key) ?? 0) + count);
  }

  #subtract(packet: QueuedPacket, bytes: number): void {
    this.#bytes -= bytes;
    if (packet.bundle === undefined) return;
    this.#fds -= packet.fds.length;
    this.#memoryBytes -= packet.memoryBytes;
  }

  /** Moves what stays of one packet to the output; the packet whole where nothing changes. */
  #pass(packet: QueuedPacket): void {
    const { buffer } = packet;
    // Enough was dropped, and nothing is superseded: what is left stays as it is.
    if (!this.#isDropping && this.#newest.size === 0) return this.#out.push(packet);
    let keptFrom = 0;
    let isWhole = true;
    for (let at = 0; at < packet.bytes; ) {
      const next = at + paddedBytes(buffer.words[at >>> 2] as number);
      const fate = this.#fateOf(packet, at);
      const id = buffer.words[(at >>> 2) + 2] as number;
      if (this.#isEnoughBefore(fate)) {
        this.#cut(packet, keptFrom, at);
        isWhole = false;
        keptFrom = at;
        this.#tellDropped();
      }
      const goes = this.#goes(packet, at, next - at, fate);
      const told = fate === KEEP || fate === MAY_GO ? undefined : this.#tellAt(fate, goes, id);
      if (goes || told !== undefined) {
        if (keptFrom < at) this.#cut(packet, keptFrom, at);
        isWhole = false;
        keptFrom = goes ? next : at;
        if (told !== undefined) this.#tell(told, GAP_REASON.SUPERSEDED);
      }
      this.#frame += 1;
      at = next;
    }
    if (packet.bundle !== undefined) {
      // One frame: it stays, or it goes.
      if (keptFrom === 0) this.#out.push(packet);
      else this.#withFdsDropped.push(packet);
      return;
    }
    if (isWhole) return this.#out.push(packet);
    this.#cut(packet, keptFrom, packet.bytes);
    this.#pool.release(packet);
  }

  /** Copies frames to the output; nothing of a packet with fds, which holds one frame. */
  #cut(packet: QueuedPacket, from: number, to: number): void {
    if (packet.bundle === undefined) this.#out.append(packet.buffer, from, to - from);
  }

  /** Whether this is the first message that may stay: word of the dropped ones stands before it. */
  #isEnoughBefore(fate: number): boolean {
    if (!this.#isDropping || (fate !== MAY_GO && fate !== LATEST)) return false;
    this.#isDropping = !this.#isWithin(this.#target.bytes);
    this.#mayLoseMore ||= !this.#isDropping;
    return !this.#isDropping;
  }

  /** Decides about one frame, and counts it where it goes. */
  #goes(packet: QueuedPacket, at: number, bytes: number, fate: number): boolean {
    if (!this.#mustGo(packet, at, bytes, fate)) return false;
    this.#lost.add(packet.buffer.words, at, bytes, fate === SUPERSEDED);
    return true;
  }

  #mustGo(packet: QueuedPacket, at: number, bytes: number, fate: number): boolean {
    if (fate === KEEP) return false;
    if (fate === SUPERSEDED || fate === TOLD_SUPERSEDED) return true;
    if (!this.#isDropping) return false;
    const id = packet.buffer.words[(at >>> 2) + 2] as number;
    if (fate === TOLD_DROPPED) {
      this.#bytes -= bytes;
      this.#dropped.add(id, gapAt(packet, at).count);
      return true;
    }
    if (fate === LATEST) {
      if (this.#isWithin(this.#target.latestBytes)) {
        this.#mayLoseMore = true;
        return false;
      }
      // Nothing stands for the superseded ones of its topic any more.
      this.#dropped.add(id, this.#superseded.get(id) ?? 0);
      this.#superseded.delete(id);
    }
    if (id !== this.#droppedId) this.#bookDropped(id);
    this.#droppedCount += 1;
    this.#subtract(packet, bytes);
    return true;
  }

  /** Neighbours with the same id are booked at once. */
  #bookDropped(nextId: number): void {
    if (this.#droppedCount > 0) this.#dropped.add(this.#droppedId, this.#droppedCount);
    this.#droppedId = nextId;
    this.#droppedCount = 0;
  }

  /** @param bytes that may be left */
  #isWithin(bytes: number): boolean {
    if (this.#bytes > bytes || this.#fds > this.#target.fds) return false;
    return this.#memoryBytes <= this.#target.memoryBytes;
  }

  /** The id under which superseded messages are told before this frame, or in its place. */
  #tellAt(fate: number, goes: boolean, id: number): [topicId: number, count: number] | undefined {
    const isPlace = fate === LATEST ? !goes : fate === SUPERSEDED || fate === TOLD_SUPERSEDED;
    if (!isPlace) return undefined;
    // Those of topics without a place of their own are told where the first of them stood.
    const key = fate === LATEST ? id : SEVERAL_TOPICS;
    const count = this.#superseded.get(key);
    if (count === undefined || (fate !== LATEST && this.#superseded.has(id) && id !== key)) {
      return undefined;
    }
    this.#superseded.delete(key);
    return [key, count];
  }

  #tellDropped(): void {
    this.#bookDropped(SEVERAL_TOPICS);
    for (const gap of this.#dropped.take()) this.#tell(gap, GAP_REASON.OLDEST_DROPPED);
  }

  #tell([id, count]: [topicId: number, count: number], reason: number): void {
    this.#out.append(CONTROL_FRAME_BUFFER, 0, encodeGap(id, count, reason));
  }

  #fateOf(packet: QueuedPacket, at: number): number {
    const word = at >>> 2;
    const { words } = packet.buffer;
    const kind = words[word + 1] as number;
    const opcode = opcodeOf(kind);
    if (opcode === OPCODE.GAP) return this.#fateOfGap(packet, at);
    // With its fds on the lane already, the message must follow.
    if (opcode !== OPCODE.MESSAGE || (flagsOf(kind) & FLAG_FDS_ON_LANE) !== 0) return KEEP;
    const id = words[word + 2] as number;
    if (id !== this.#lastId) this.#lookUp(id);
    const overflow = this.#lastOverflow;
    if (overflow !== "drop-oldest" && overflow !== "latest-per-topic") return KEEP;
    if (this.#frame < this.#lastRenamedAt) return KEEP;
    if (overflow === "drop-oldest") return MAY_GO;
    return this.#newest.get(id) === this.#frame ? LATEST : SUPERSEDED;
  }

  #lookUp(id: number): void {
    this.#lastId = id;
    this.#lastOverflow = this.#overflowOf(id);
    this.#lastRenamedAt = this.#renamedAt.get(id) ?? -1;
  }

  /** Word of earlier compactions moves along, so that it does not pile up. */
  #fateOfGap(packet: QueuedPacket, at: number): number {
    const { reason } = gapAt(packet, at);
    if (reason !== GAP_REASON.OLDEST_DROPPED && reason !== GAP_REASON.SUPERSEDED) return KEEP;
    const id = packet.buffer.words[(at >>> 2) + 2] as number;
    if (this.#frame < (this.#renamedAt.get(id) ?? -1)) return KEEP;
    const isSuperseded = reason === GAP_REASON.SUPERSEDED;
    if (id === SEVERAL_TOPICS) {
      return isSuperseded && this.#newest.size > 0 ? TOLD_SUPERSEDED : TOLD_DROPPED;
    }
    const overflow = this.#overflowOf(id);
    if (overflow === "drop-oldest") return TOLD_DROPPED;
    if (overflow !== "latest-per-topic") return KEEP;
    const newest = this.#newest.get(id);
    return newest === undefined || newest < this.#frame ? TOLD_DROPPED : TOLD_SUPERSEDED;
  }
}

function gapAt({ buffer }: QueuedPacket, at: number): GapBody {
  return decodeGapBody(
    buffer.bytes,
    at + FRAME_HEADER_BYTES,
    at + (buffer.words[at >>> 2] as number),
  );
}
