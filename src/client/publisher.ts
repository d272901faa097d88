/**
 * Publishing by topic name: opens a topic at its first message, keeps order over all topics while
 * the broker answers, and remembers what was denied.
 */

import { ArgumentError, LimitError } from "../errors.ts";
import { assertFd } from "../ffi/fd-number.ts";
import type { OwnedFd } from "../ffi/owned-fd.ts";
import {
  BODY_PREFIX_BYTES,
  FRAME_HEADER_BYTES,
  LARGE_BODY_BYTES_MAX,
  LARGE_SIZE_BYTES,
  MESSAGE_BODY_BYTES_MAX,
  MESSAGE_FDS_MAX,
} from "../protocol/limits.ts";
import { ENCODING, type Encoding, FLAG_LARGE, OPCODE } from "../protocol/opcodes.ts";
import { checkTopicName } from "../protocol/topics.ts";
import { type EncodingName, encodeBody } from "./body-codec.ts";
import { duplicateAll } from "./borrowed-fds.ts";
import { OUTBOUND_BYTES_HIGH, OUTBOUND_BYTES_MAX } from "./limits.ts";
import { assertSealed, Memory } from "./memory.ts";
import type { MessageWithFds, Outbound } from "./outbound.ts";

/** Something that stands for an open fd: a number, or an object that has one (Bun, node:fs). */
export type FdLike = number | { readonly fd: number };

/** Choices for one message. */
export interface PublishOptions {
  /** Default "auto": bytes for a Uint8Array, text for a string, msgpack for all else. */
  readonly encoding?: EncodingName;
  /** Files to pass along, at most 253. Borrowed: you may close yours when publish() returns. */
  readonly fds?: readonly FdLike[];
  /**
   * The broker keeps the message, with its files, as the last value of its topic: whoever subscribes
   * later gets it first, marked `retained`. Default false.
   */
  readonly retain?: boolean;
  /** With `retain`: milliseconds until the broker forgets it. Default: until it is replaced. */
  readonly retainFor?: number;
}

/** Asks the broker for a topic id. */
export type TopicOpener = (name: string) => Promise<number>;

interface OpenedTopic {
  readonly name: string;
  /** 0 until the broker has answered. */
  id: number;
  /** Why nothing can be published here. */
  denial: Error | undefined;
}

interface HeldMessage {
  readonly topic: OpenedTopic;
  /** MESSAGE or RETAIN. */
  readonly opcode: number;
  readonly flags: number;
  readonly body: Uint8Array;
  readonly fds: readonly OwnedFd[];
  /** As in MessageWithFds. */
  readonly memoryBytes: number;
}

const NO_FDS: readonly number[] = [];

/** In place of the milliseconds that a message is kept: it is not. */
const NOT_KEPT = -1;

/** The longest that a message can be kept, as u32: 49 days. */
const RETAIN_FOR_MS_MAX = 0xffff_ffff;

/** A message on its way, with or without fds. */
type OutgoingMessage = MessageWithFds & { readonly opcode: number };

/** The publishing half of a bus. */
export class Publisher {
  readonly #outbound: Outbound;
  readonly #openTopic: TopicOpener;
  readonly #onDenied: (error: Error) => void;
  readonly #topics = new Map<string, OpenedTopic>();
  /** Messages and barriers that came while a topic before them was not open yet. */
  #held: (HeldMessage | (() => void))[] = [];
  #heldBytes = 0;

  constructor(outbound: Outbound, openTopic: TopicOpener, onDenied: (error: Error) => void) {
    this.#outbound = outbound;
    this.#openTopic = openTopic;
    this.#onDenied = onDenied;
  }

  /** See Bus.publish(). */
  publish(name: string, data: unknown, options?: PublishOptions): boolean {
    const keptMs = options === undefined ? NOT_KEPT : keptMsOf(options);
    const topic = this.#topics.get(name) ?? this.#open(name);
    if (options === undefined && data instanceof Uint8Array) {
      this.#write(topic, ENCODING.BYTES, data, NO_FDS, keptMs);
    } else if (data instanceof Memory) {
      checkEncodingOfMemory(options?.encoding);
      this.#writeMemory(topic, ENCODING.BYTES, data, fdNumbers(options?.fds), keptMs);
    } else {
      const { encoding, bytes } = encodeBody(data, options?.encoding ?? "auto");
      this.#write(topic, encoding, bytes, fdNumbers(options?.fds), keptMs);
    }
    return this.#outbound.waitingBytes + this.#heldBytes < OUTBOUND_BYTES_HIGH;
  }

  /** Calls back when everything published so far has gone to the outbound packets. */
  barrier(callback: () => void): void {
    if (this.#held.length === 0) callback();
    else this.#held.push(callback);
  }

  /** The broker took the right to publish on a topic away: publish() throws from now on. */
  revoke(name: string, error: Error): void {
    const topic = this.#topics.get(name);
    if (topic !== undefined) topic.denial = error;
  }

  /** The policy changed: topics that were denied are asked for again at their next message. */
  forgetDenials(): void {
    for (const topic of this.#topics.values()) {
      if (topic.denial !== undefined) this.#topics.delete(topic.name);
    }
  }

  /** Lets go of messages that wait for a topic. Barriers call back: nothing is before them now. */
  clear(): void {
    const dropped = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    for (const held of dropped) {
      if (typeof held === "function") held();
      else for (const fd of held.fds) fd.close();
    }
  }

  #write(
    topic: OpenedTopic,
    encoding: Encoding,
    body: Uint8Array,
    fds: readonly number[],
    keptMs: number,
  ): void {
    if (topic.denial !== undefined) throw topic.denial;
    const bytesMax = MESSAGE_BODY_BYTES_MAX - (keptMs === NOT_KEPT ? 0 : BODY_PREFIX_BYTES);
    if (body.byteLength > bytesMax) this.#writeLarge(topic, encoding, body, fds, keptMs);
    else if (keptMs === NOT_KEPT && fds.length === 0 && !this.#mustHold(topic)) {
      this.#outbound.message(topic.id, encoding, body);
    } else {
      this.#send(topic, { ...frameOf(body, keptMs), flags: encoding, fds, memoryBytes: 0 });
    }
  }

  /** A body that no packet can carry goes into memory of its own. */
  #writeLarge(
    topic: OpenedTopic,
    encoding: Encoding,
    body: Uint8Array,
    fds: readonly number[],
    keptMs: number,
  ): void {
    if (body.byteLength > LARGE_BODY_BYTES_MAX) throw tooLarge(topic.name, body.byteLength);
    using memory = Memory.from(body).seal();
    this.#writeMemory(topic, encoding, memory, fds, keptMs);
  }

  #writeMemory(
    topic: OpenedTopic,
    encoding: Encoding,
    memory: Memory,
    files: readonly number[],
    keptMs: number,
  ): void {
    if (topic.denial !== undefined) throw topic.denial;
    assertSealed(memory);
    const { byteLength, fd } = memory;
    if (byteLength > LARGE_BODY_BYTES_MAX) throw tooLarge(topic.name, byteLength);
    const fds = [fd, ...files];
    if (fds.length > MESSAGE_FDS_MAX) throw tooManyFds(files.length, MESSAGE_FDS_MAX - 1);
    const size = new Uint8Array(LARGE_SIZE_BYTES);
    new DataView(size.buffer).setUint32(0, byteLength, true);
    const flags = encoding | FLAG_LARGE;
    this.#send(topic, { ...frameOf(size, keptMs), flags, fds, memoryBytes: byteLength });
  }

  #send(topic: OpenedTopic, message: OutgoingMessage): void {
    if (this.#mustHold(topic)) this.#hold(topic, message);
    else this.#dispatch(topic.id, message);
  }

  #dispatch(topicId: number, message: OutgoingMessage): void {
    const { opcode, flags, body, fds } = message;
    if (fds.length > 0) this.#outbound.messageWithFds(topicId, message);
    else if (opcode === OPCODE.RETAIN) this.#outbound.retain(topicId, flags, body);
    else this.#outbound.message(topicId, flags as Encoding, body);
  }

  /** The broker has not answered for this topic, or for that of a message before. */
  #mustHold(topic: OpenedTopic): boolean {
    return topic.id === 0 || this.#held.length > 0;
  }

  #hold(topic: OpenedTopic, { opcode, flags, body, fds, memoryBytes }: OutgoingMessage): void {
    if (this.#heldBytes > OUTBOUND_BYTES_MAX) {
      throw new LimitError(
        "LIMIT_OUTBOUND",
        `Cannot publish on "${topic.name}": ${this.#heldBytes} bytes wait for topics to open`,
        { limit: OUTBOUND_BYTES_MAX, actual: this.#heldBytes },
      );
    }
    const copy = { body: body.slice(), fds: duplicateAll(fds) };
    const held = { topic, opcode, flags, ...copy, memoryBytes };
    this.#held.push(held);
    this.#heldBytes += heldBytesOf(held);
  }

  #open(name: string): OpenedTopic {
    const flaw = checkTopicName(name);
    if (flaw !== undefined) {
      throw new ArgumentError("ARGUMENT_TOPIC", `Cannot publish: ${flaw}`, "topic");
    }
    const topic: OpenedTopic = { name, id: 0, denial: undefined };
    this.#topics.set(name, topic);
    this.#openTopic(name).then(
      (id) => {
        topic.id = id;
        this.#release();
      },
      (error: Error) => {
        topic.denial = error;
        this.#release();
      },
    );
    return topic;
  }

  /** Sends held messages in order, up to the first whose topic is still not answered for. */
  #release(): void {
    let released = 0;
    for (const held of this.#held) {
      if (typeof held === "function") held();
      else if (held.topic.denial !== undefined) this.#refuse(held, held.topic.denial);
      else if (held.topic.id === 0) break;
      else this.#releaseMessage(held);
      released += 1;
    }
    this.#held.splice(0, released);
  }

  #releaseMessage(held: HeldMessage): void {
    try {
      const fds = held.fds.map((fd) => fd.number);
      this.#dispatch(held.topic.id, { ...held, fds });
    } catch (error) {
      this.#onDenied(error as Error);
    }
    this.#forget(held);
  }

  #refuse(held: HeldMessage, denial: Error): void {
    this.#forget(held);
    this.#onDenied(denial);
  }

  #forget(held: HeldMessage): void {
    this.#heldBytes -= heldBytesOf(held);
    for (const fd of held.fds) fd.close();
  }
}

/** The milliseconds that a message is to be kept: 0 for ever, or NOT_KEPT. */
function keptMsOf({ retain = false, retainFor }: PublishOptions): number {
  if (retainFor === undefined) return retain ? 0 : NOT_KEPT;
  if (!retain) throw badRetention("it is not to be retained, set retain as well");
  const isRight = Number.isInteger(retainFor) && retainFor >= 1 && retainFor <= RETAIN_FOR_MS_MAX;
  if (isRight) return retainFor;
  throw badRetention(`it must be a whole number of milliseconds, 1 to ${RETAIN_FOR_MS_MAX}`);
}

function badRetention(why: string): ArgumentError {
  return new ArgumentError("ARGUMENT_OPTION", `Cannot apply retainFor: ${why}`, "retainFor");
}

/** A MESSAGE; or where it is to be kept a RETAIN, whose prefix says for how long. */
function frameOf(body: Uint8Array, keptMs: number): { opcode: number; body: Uint8Array } {
  if (keptMs === NOT_KEPT) return { opcode: OPCODE.MESSAGE, body };
  const prefixed = new Uint8Array(BODY_PREFIX_BYTES + body.byteLength);
  new DataView(prefixed.buffer).setUint32(0, keptMs, true);
  prefixed.set(body, BODY_PREFIX_BYTES);
  return { opcode: OPCODE.RETAIN, body: prefixed };
}

function fdNumbers(fds: readonly FdLike[] | undefined): readonly number[] {
  if (fds === undefined || fds.length === 0) return NO_FDS;
  if (fds.length > MESSAGE_FDS_MAX) throw tooManyFds(fds.length, MESSAGE_FDS_MAX);
  return fds.map((fd) => {
    const number: unknown = typeof fd === "number" ? fd : fd?.fd;
    assertFd(number, "fds");
    return number;
  });
}

function heldBytesOf({ body, memoryBytes }: HeldMessage): number {
  return FRAME_HEADER_BYTES + body.byteLength + memoryBytes;
}

function checkEncodingOfMemory(encoding: EncodingName = "auto"): void {
  if (encoding === "auto" || encoding === "bytes") return;
  const message = `Cannot encode data as ${encoding}: it is memory, which travels as bytes`;
  throw new ArgumentError("ARGUMENT_DATA", message, "data");
}

function tooManyFds(count: number, limit: number): LimitError {
  const message = `Cannot publish ${count} fds with one message, limit is ${limit}`;
  return new LimitError("LIMIT_MESSAGE_FDS", message, { limit, actual: count });
}

function tooLarge(name: string, bytes: number): LimitError {
  const message = `Cannot publish on "${name}": message is ${bytes} bytes`;
  return new LimitError("LIMIT_MESSAGE_BYTES", `${message}, limit is ${LARGE_BODY_BYTES_MAX}`, {
    limit: LARGE_BODY_BYTES_MAX,
    actual: bytes,
  });
}
