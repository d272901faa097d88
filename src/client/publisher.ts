/**
 * Publishing by topic name: opens a topic at its first message, keeps order over all topics while
 * the broker answers, and remembers what was denied.
 */

import { ArgumentError, LimitError } from "../errors.ts";
import { assertFd } from "../ffi/fd-number.ts";
import type { OwnedFd } from "../ffi/owned-fd.ts";
import {
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
import { type OpenedTopic, OpenTopics } from "./open-topics.ts";
import type { MessageWithFds, Outbound } from "./outbound.ts";

/** Something that stands for an open fd: a number, or an object that has one (Bun, node:fs). */
export type FdLike = number | { readonly fd: number };

/** Choices for one message. */
export interface PublishOptions {
  /** Default "auto": bytes for a Uint8Array, text for a string, msgpack for all else. */
  readonly encoding?: EncodingName;
  /** Files to pass along, at most 253. Borrowed: you may close yours when publish() returns. */
  readonly fds?: readonly FdLike[];
}

/** Asks the broker for a topic id. */
export type TopicOpener = (name: string) => Promise<number>;

interface HeldMessage {
  readonly topic: OpenedTopic;
  readonly flags: number;
  readonly body: Uint8Array;
  readonly fds: readonly OwnedFd[];
  /** As in MessageWithFds. */
  readonly memoryBytes: number;
}

const NO_FDS: readonly number[] = [];

/** The publishing half of a bus. */
export class Publisher {
  readonly #outbound: Outbound;
  readonly #openTopic: TopicOpener;
  readonly #onDenied: (error: Error) => void;
  readonly #topics = new OpenTopics();
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
    const topic = this.#topics.use(name) ?? this.#open(name);
    if (options === undefined && data instanceof Uint8Array) {
      this.#write(topic, ENCODING.BYTES, data, NO_FDS);
    } else if (data instanceof Memory) {
      checkEncodingOfMemory(options?.encoding);
      this.#writeMemory(topic, ENCODING.BYTES, data, fdNumbers(options?.fds));
    } else {
      const { encoding, bytes } = encodeBody(data, options?.encoding ?? "auto");
      this.#write(topic, encoding, bytes, fdNumbers(options?.fds));
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
    const topic = this.#topics.find(name);
    if (topic !== undefined) topic.denial = error;
  }

  /** The policy changed: topics that were denied are asked for again at their next message. */
  forgetDenials(): void {
    this.#topics.forgetDenials();
  }

  /** Lets go of messages that wait for a topic. Barriers call back: nothing is before them now. */
  clear(): void {
    const dropped = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    for (const held of dropped) {
      if (typeof held === "function") held();
      else this.#drop(held);
    }
  }

  #write(topic: OpenedTopic, encoding: Encoding, body: Uint8Array, fds: readonly number[]): void {
    if (topic.denial !== undefined) throw topic.denial;
    if (body.byteLength > MESSAGE_BODY_BYTES_MAX) this.#writeLarge(topic, encoding, body, fds);
    else if (fds.length > 0) this.#send(topic, { flags: encoding, body, fds, memoryBytes: 0 });
    else if (this.#mustHold(topic)) {
      this.#hold(topic, { flags: encoding, body, fds, memoryBytes: 0 });
    } else this.#outbound.message(topic.id, encoding, body);
  }

  /** A body that no packet can carry goes into memory of its own. */
  #writeLarge(
    topic: OpenedTopic,
    encoding: Encoding,
    body: Uint8Array,
    fds: readonly number[],
  ): void {
    if (body.byteLength > LARGE_BODY_BYTES_MAX) throw tooLarge(topic.name, body.byteLength);
    using memory = Memory.from(body).seal();
    this.#writeMemory(topic, encoding, memory, fds);
  }

  #writeMemory(
    topic: OpenedTopic,
    encoding: Encoding,
    memory: Memory,
    files: readonly number[],
  ): void {
    if (topic.denial !== undefined) throw topic.denial;
    assertSealed(memory);
    const { byteLength, fd } = memory;
    if (byteLength > LARGE_BODY_BYTES_MAX) throw tooLarge(topic.name, byteLength);
    const fds = [fd, ...files];
    if (fds.length > MESSAGE_FDS_MAX) throw tooManyFds(files.length, MESSAGE_FDS_MAX - 1);
    const body = new Uint8Array(LARGE_SIZE_BYTES);
    new DataView(body.buffer).setUint32(0, byteLength, true);
    this.#send(topic, { flags: encoding | FLAG_LARGE, body, fds, memoryBytes: byteLength });
  }

  #send(topic: OpenedTopic, message: MessageWithFds): void {
    if (this.#mustHold(topic)) this.#hold(topic, message);
    else this.#outbound.messageWithFds(topic.id, message);
  }

  /** The broker has not answered for this topic, or for that of a message before. */
  #mustHold(topic: OpenedTopic): boolean {
    return topic.id === 0 || this.#held.length > 0;
  }

  #hold(topic: OpenedTopic, { flags, body, fds, memoryBytes }: MessageWithFds): void {
    if (this.#heldBytes > OUTBOUND_BYTES_MAX) {
      throw new LimitError(
        "LIMIT_OUTBOUND",
        `Cannot publish on "${topic.name}": ${this.#heldBytes} bytes wait for topics to open`,
        { limit: OUTBOUND_BYTES_MAX, actual: this.#heldBytes },
      );
    }
    const held = { topic, flags, body: body.slice(), fds: duplicateAll(fds), memoryBytes };
    this.#held.push(held);
    topic.held += 1;
    this.#heldBytes += heldBytesOf(held);
  }

  #open(name: string): OpenedTopic {
    const flaw = checkTopicName(name);
    if (flaw !== undefined) {
      throw new ArgumentError("ARGUMENT_TOPIC", `Cannot publish: ${flaw}`, "topic");
    }
    if (this.#topics.areTooMany) this.#closeIdle();
    const topic = this.#topics.add(name);
    this.#openTopic(name).then(
      (id) => {
        topic.id = id;
        this.#release();
      },
      (error: Error) => {
        topic.denial = error;
        this.#release();
        if (error instanceof LimitError) this.#makeRoom(topic);
      },
    );
    return topic;
  }

  /** There are too many topics, at the broker or of this user: that may pass, so it is asked again. */
  #makeRoom(refused: OpenedTopic): void {
    this.#topics.forget(refused);
    this.#closeIdle();
  }

  /** Their messages went out before, and the broker takes everything in order. */
  #closeIdle(): void {
    for (const { id } of this.#topics.takeIdle()) {
      if (id !== 0) this.#outbound.control({ opcode: OPCODE.CLOSE_TOPIC, id });
    }
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
      const { topic, flags, body, memoryBytes } = held;
      if (fds.length === 0) this.#outbound.message(topic.id, flags as Encoding, body);
      else this.#outbound.messageWithFds(topic.id, { flags, body, fds, memoryBytes });
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
    this.#drop(held);
  }

  #drop(held: HeldMessage): void {
    held.topic.held -= 1;
    for (const fd of held.fds) fd.close();
  }
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
