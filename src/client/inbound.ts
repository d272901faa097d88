/**
 * Packets from the broker, taken apart: messages to the subscriptions that match, everything else
 * to the bus. Keeps what topic ids and connection ids stand for. Touches no socket.
 */

import { ProtocolError } from "../errors.ts";
import {
  decodeErrorBody,
  decodeGapBody,
  decodeGoodbyeBody,
  decodeHeldBody,
  decodeRevokedBody,
  decodeSenderBody,
  decodeTopicBody,
  type ErrorBody,
  type GapBody,
  type GoodbyeBody,
  type HeldBody,
  type RevokedBody,
  type TopicBody,
} from "../protocol/control-messages.ts";
import {
  detailOf,
  fdCountOf,
  flagsOf,
  kindWord,
  opcodeOf,
  paddedBytes,
} from "../protocol/frame.ts";
import { FRAME_HEADER_BYTES } from "../protocol/limits.ts";
import {
  type Encoding,
  FLAG_FATAL,
  FLAG_FDS_ON_LANE,
  FLAG_RETAINED,
  FLAGS_ENCODING_MASK,
  GAP_REASON,
  OPCODE,
} from "../protocol/opcodes.ts";
import { brokerFrameError, isLarge, largeBodyBytes } from "../protocol/packet.ts";
import { topicMatches } from "../protocol/topics.ts";
import type { Gap } from "./gaps.ts";
import { LargeBody } from "./large-body.ts";
import { Message, type Sender } from "./message.ts";
import { ReceivedFds } from "./received-fds.ts";
import { SERVICE_OPCODES } from "./services.ts";
import type { GapReason, StatusEvent } from "./status.ts";
import type { AnySubscription } from "./subscription.ts";

/** Where frames go that are not messages. */
export interface InboundHost {
  onAck(requestId: number, body: Uint8Array): void;
  onError(requestId: number, body: ErrorBody, isFatal: boolean): void;
  onGap(gap: Gap): void;
  onGoodbye(body: GoodbyeBody): void;
  onRevoked(body: RevokedBody): void;
  onPolicyChanged(): void;
  noteStatus(event: StatusEvent): void;
  onFdsLost(topic: string, count: number): void;
  /** A large message could not be received, because this process may hold no more fds. */
  onBodyLost(topic: string): void;
  /** A frame about services: its header was checked, its body was not. */
  onServiceFrame(packet: Uint8Array, words: Uint32Array, at: number): void;
  /** Fetches `count` fds of the next lane record; they are the caller's. */
  takeLaneFds(count: number): number[];
}

/** What the wire's numbers mean. */
const GAP_REASONS: ReadonlyMap<number, GapReason> = new Map([
  [GAP_REASON.SEND_QUEUE_FULL, "send-queue-full"],
  [GAP_REASON.BODY_REFUSED, "body-refused"],
  [GAP_REASON.OLDEST_DROPPED, "oldest-dropped"],
  [GAP_REASON.SUPERSEDED, "superseded"],
  [GAP_REASON.BODY_EXPIRED, "body-expired"],
]);

interface InboundTopic {
  readonly name: string;
  /** Its messages are for the subscriptions in this group alone, one of them each. */
  readonly group: string | undefined;
  /** Those that match, valid while `generation` is the table's. */
  subscriptions: readonly AnySubscription[];
  generation: number;
  /** Those that matched when the last message on it came: each of them has had one. */
  reached: readonly AnySubscription[];
}

/** A kind word without its encoding bits equals PLAIN_KIND for a message without fds. */
const PLAIN_MASK = ~(FLAGS_ENCODING_MASK << 8);
const PLAIN_KIND = kindWord(OPCODE.MESSAGE, 0, 0);

/** The receiving half of a bus. */
export class Inbound {
  readonly #host: InboundHost;
  readonly #topics = new Map<number, InboundTopic>();
  readonly #senders = new Map<number, Sender>();
  readonly #subscriptions = new Set<AnySubscription>();
  #generation = 0;
  #lastTopicId = -1;
  #lastTopic: InboundTopic | undefined;
  #lastOrigin = -1;
  #lastSender: Sender | undefined;

  constructor(host: InboundHost) {
    this.#host = host;
  }

  /** Messages that match go there from now on. */
  addSubscription(subscription: AnySubscription): void {
    this.#subscriptions.add(subscription);
    this.#generation += 1;
  }

  /** No message goes there any more. */
  removeSubscription(subscription: AnySubscription): void {
    this.#subscriptions.delete(subscription);
    this.#generation += 1;
  }

  /** The connection is another one: its ids mean nothing yet. Subscriptions stay. */
  reset(): void {
    this.#topics.clear();
    this.#senders.clear();
    this.#lastTopicId = -1;
    this.#lastTopic = undefined;
    this.#lastOrigin = -1;
    this.#lastSender = undefined;
  }

  /** All open subscriptions. */
  get subscriptions(): ReadonlySet<AnySubscription> {
    return this.#subscriptions;
  }

  /**
   * Takes one packet apart.
   * @param packet kept by the messages in it, so it must not be used again
   * @throws {ProtocolError} the broker broke the protocol: close the bus
   */
  take(packet: Uint8Array): void {
    const words = wordsOf(packet);
    const end = packet.byteLength;
    for (let at = 0; at < end; ) {
      const frameBytes = words[at >>> 2] as number;
      const kind = words[(at >>> 2) + 1] as number;
      if (frameBytes < FRAME_HEADER_BYTES || frameBytes > end - at) throw frameLengthError(at);
      if ((kind & PLAIN_MASK) === PLAIN_KIND) {
        this.#message(packet, words, at, kind, ReceivedFds.NONE);
      } else {
        const code = brokerFrameError(kind, frameBytes);
        if (code !== 0) throw new ProtocolError(code, `Cannot read frame at byte ${at}`, at);
        this.#other(packet, words, at, kind);
      }
      at += paddedBytes(frameBytes);
    }
  }

  /**
   * Who has a connection id.
   * @throws {ProtocolError} PROTOCOL_STATE where the broker has not said
   */
  senderOf(connection: number): Sender {
    return this.#senderOf(connection, 0);
  }

  #message(
    packet: Uint8Array,
    words: Uint32Array,
    at: number,
    kind: number,
    fds: ReceivedFds,
  ): void {
    const word = at >>> 2;
    const topic = this.#topicOf(words[word + 2] as number, at);
    const sender = this.#senderOf(words[word + 3] as number, at);
    const flags = flagsOf(kind);
    const isRetained = (flags & FLAG_RETAINED) !== 0;
    const message = new Message(
      topic.name,
      sender,
      (flags & FLAGS_ENCODING_MASK) as Encoding,
      packet,
      at + FRAME_HEADER_BYTES,
      at + (words[word] as number),
      fds,
      detailOf(kind),
      undefined,
      isRetained,
    );
    this.#deliver(topic, receiversOf(topic, isRetained), message);
  }

  #deliver(topic: InboundTopic, subscriptions: readonly AnySubscription[], message: Message): void {
    if (topic.group !== undefined) this.#deliverToOne(topic, message);
    else if (subscriptions.length === 1) subscriptions[0]?.accept(message);
    else if (message.holdsResources) this.#fanOut(subscriptions, message);
    else for (const subscription of subscriptions) subscription.accept(message);
  }

  /** Of several subscriptions in the group, each gets a message in turn. */
  #deliverToOne(topic: InboundTopic, message: Message): void {
    const [first, ...others] = topic.subscriptions;
    if (first === undefined) return message[Symbol.dispose]();
    if (others.length > 0) topic.subscriptions = [...others, first];
    first.accept(message);
  }

  /** Several subscriptions of this program match: each gets fds of its own to take and close. */
  #fanOut(subscriptions: readonly AnySubscription[], message: Message): void {
    if (subscriptions.length === 0) return message[Symbol.dispose]();
    // All copies first: a callback may be done with its message when accept() returns.
    const copies = subscriptions.map((_, index) =>
      index === 0 ? message : message.withFds(message.fds.duplicate()),
    );
    const fdCount = message.fds.length;
    subscriptions.forEach((subscription, index) => {
      const copy = copies[index] as Message;
      const lost = fdCount - copy.fds.length;
      if (lost > 0) this.#host.onFdsLost(message.topic, lost);
      subscription.accept(copy);
    });
  }

  #other(packet: Uint8Array, words: Uint32Array, at: number, kind: number): void {
    const id = words[(at >>> 2) + 2] as number;
    const start = at + FRAME_HEADER_BYTES;
    const end = at + (words[at >>> 2] as number);
    switch (opcodeOf(kind)) {
      case OPCODE.MESSAGE:
        return this.#messageWithFlags(packet, words, at, kind);
      case OPCODE.ACK:
        return this.#host.onAck(id, packet.subarray(start, end));
      case OPCODE.ERROR: {
        const isFatal = (flagsOf(kind) & FLAG_FATAL) !== 0;
        return this.#host.onError(id, decodeErrorBody(packet, start, end), isFatal);
      }
      case OPCODE.TOPIC:
        return this.#learnTopic(id, decodeTopicBody(packet, start, end));
      case OPCODE.SENDER: {
        const { uid, gid, pid, groups, unit, exe } = decodeSenderBody(packet, start, end);
        const sender: Sender = Object.freeze({ connection: id, uid, gid, pid, groups, unit, exe });
        this.#senders.set(id, sender);
        return;
      }
      case OPCODE.SENDER_GONE:
        this.#senders.delete(id);
        return;
      case OPCODE.GAP:
        return this.#gap(id, decodeGapBody(packet, start, end));
      case OPCODE.GOODBYE:
        return this.#host.onGoodbye(decodeGoodbyeBody(packet, start, end));
      case OPCODE.REVOKED:
        return this.#host.onRevoked(decodeRevokedBody(packet, start, end));
      case OPCODE.POLICY_CHANGED:
        return this.#host.onPolicyChanged();
      case OPCODE.HELD:
        return this.#host.noteStatus(heldEvent(decodeHeldBody(packet, start, end)));
      default:
        if (SERVICE_OPCODES.has(opcodeOf(kind))) {
          return this.#host.onServiceFrame(packet, words, at);
        }
        throw new ProtocolError("PROTOCOL_STATE", `Cannot take frame at byte ${at}: not now`, at);
    }
  }

  #messageWithFlags(packet: Uint8Array, words: Uint32Array, at: number, kind: number): void {
    const count = fdCountOf(kind);
    if ((flagsOf(kind) & FLAG_FDS_ON_LANE) === 0) {
      if (count === 0) return this.#message(packet, words, at, kind, ReceivedFds.NONE);
      throw new ProtocolError("PROTOCOL_LANE", "Cannot take fds: they did not come by lane", at);
    }
    if (isLarge(kind)) return this.#largeMessage(words, at, kind);
    const fds = new ReceivedFds(this.#host.takeLaneFds(count));
    try {
      if (fds.length < count) {
        const topic = this.#topicOf(words[(at >>> 2) + 2] as number, at);
        this.#host.onFdsLost(topic.name, count - fds.length);
      }
      this.#message(packet, words, at, kind, fds);
    } catch (error) {
      fds.close();
      throw error;
    }
  }

  /** The first fd is the body; the kernel hands out the first ones first. */
  #largeMessage(words: Uint32Array, at: number, kind: number): void {
    const count = fdCountOf(kind);
    const [bodyFd, ...files] = this.#host.takeLaneFds(count);
    const large =
      bodyFd === undefined ? undefined : new LargeBody(bodyFd, largeBodyBytes(words, at));
    const fds = files.length === 0 ? ReceivedFds.NONE : new ReceivedFds(files);
    try {
      const topic = this.#topicOf(words[(at >>> 2) + 2] as number, at);
      const sender = this.#senderOf(words[(at >>> 2) + 3] as number, at);
      if (large === undefined) return this.#loseBody(topic);
      const lost = count - 1 - files.length;
      if (lost > 0) this.#host.onFdsLost(topic.name, lost);
      const encoding = (flagsOf(kind) & FLAGS_ENCODING_MASK) as Encoding;
      const isRetained = (flagsOf(kind) & FLAG_RETAINED) !== 0;
      const { name } = topic;
      const message = Message.large(name, sender, encoding, large, fds, detailOf(kind), isRetained);
      this.#deliver(topic, receiversOf(topic, isRetained), message);
    } catch (error) {
      large?.release();
      fds.close();
      throw error;
    }
  }

  #loseBody(topic: InboundTopic): void {
    const gap = { topic: topic.name, count: 1, reason: "body-lost" as const };
    for (const subscription of topic.subscriptions) subscription.noteGap(gap);
    this.#host.onBodyLost(topic.name);
  }

  #learnTopic(id: number, { topic: name, group }: TopicBody): void {
    this.#topics.set(id, { name, group, subscriptions: [], generation: -1, reached: [] });
    this.#lastTopicId = -1;
  }

  #gap(topicId: number, gap: GapBody): void {
    const topic = topicId === 0 ? undefined : this.#topicOf(topicId, 0);
    const missed = topic?.subscriptions ?? this.#subscriptions;
    const reason = GAP_REASONS.get(gap.reason) ?? "unknown";
    const told: Gap = { topic: topic?.name, count: gap.count, reason };
    // Without a topic nobody knows which of several subscriptions it is about, if about more than one.
    const isShared = topic === undefined && this.#subscriptions.size > 1;
    const toEach = isShared ? { ...told, count: undefined } : told;
    for (const subscription of missed) subscription.noteGap(toEach);
    this.#host.onGap(told);
  }

  #topicOf(id: number, at: number): InboundTopic {
    let topic = this.#lastTopic;
    if (id !== this.#lastTopicId || topic === undefined) {
      topic = this.#topics.get(id);
      if (topic === undefined) {
        const message = `Cannot take message at byte ${at}: topic id ${id} was not announced`;
        throw new ProtocolError("PROTOCOL_TOPIC_ID", message, at);
      }
      this.#lastTopic = topic;
      this.#lastTopicId = id;
    }
    if (topic.generation !== this.#generation) this.#match(topic);
    return topic;
  }

  #match(topic: InboundTopic): void {
    topic.subscriptions = [...this.#subscriptions].filter(
      ({ pattern, group }) => group === topic.group && topicMatches(pattern, topic.name),
    );
    topic.generation = this.#generation;
  }

  #senderOf(id: number, at: number): Sender {
    if (id === this.#lastOrigin && this.#lastSender !== undefined) return this.#lastSender;
    const sender = this.#senders.get(id);
    if (sender === undefined) {
      const message = `Cannot take message at byte ${at}: sender ${id} was not announced`;
      throw new ProtocolError("PROTOCOL_STATE", message, at);
    }
    this.#lastOrigin = id;
    this.#lastSender = sender;
    return sender;
  }
}

/**
 * Who gets a message that has come. A last value comes once for each new subscription of this
 * program; those that have had a message on the topic know it already, or something newer.
 */
function receiversOf(topic: InboundTopic, isRetained: boolean): readonly AnySubscription[] {
  const { subscriptions, reached } = topic;
  topic.reached = subscriptions;
  if (!isRetained) return subscriptions;
  return subscriptions.filter((subscription) => !reached.includes(subscription));
}

/** The packet as words, copied only where Bun handed out a misaligned view. */
function wordsOf(packet: Uint8Array): Uint32Array {
  if (packet.byteLength % 8 !== 0 || packet.byteLength < FRAME_HEADER_BYTES) {
    const message = `Cannot read packet: it has ${packet.byteLength} bytes`;
    throw new ProtocolError("PROTOCOL_PACKET_SIZE", message, 0);
  }
  if (packet.byteOffset % 4 === 0) {
    return new Uint32Array(packet.buffer, packet.byteOffset, packet.byteLength >>> 2);
  }
  return new Uint32Array(packet.slice().buffer);
}

function frameLengthError(at: number): ProtocolError {
  const message = `Cannot read frame at byte ${at}: it does not end inside its packet`;
  return new ProtocolError("PROTOCOL_FRAME_LENGTH", message, at);
}

function heldEvent({ isHeld, topic, heldMs }: HeldBody): StatusEvent {
  return { type: isHeld ? "held" : "released", topic, heldMs };
}
