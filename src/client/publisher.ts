/**
 * Publishing by topic name: opens a topic at its first message, keeps order over all topics while
 * the broker answers, and remembers what was denied. While there is no connection it keeps messages.
 */

import { assert } from "../assert.ts";
import { LimitError } from "../errors.ts";
import type { OwnedFd } from "../ffi/owned-fd.ts";
import {
  LARGE_BODY_BYTES_MAX,
  LARGE_SIZE_BYTES,
  MESSAGE_BODY_BYTES_MAX,
} from "../protocol/limits.ts";
import { ENCODING, type Encoding, FLAG_LARGE, OPCODE } from "../protocol/opcodes.ts";
import { encodeBody } from "./body-codec.ts";
import { duplicateAll } from "./borrowed-fds.ts";
import {
  KEPT_MESSAGE_BYTES,
  OUTBOUND_BYTES_HIGH,
  OUTBOUND_BYTES_MAX,
  PREFIXED_BODY_BYTES_MAX,
} from "./limits.ts";
import { assertSealed, Memory } from "./memory.ts";
import { type OpenedTopic, OpenTopics } from "./open-topics.ts";
import type { MessageWithFds, Outbound } from "./outbound.ts";
import {
  checkEncodingOfMemory,
  fdNumbers,
  fdsBehind,
  OutgoingBody,
  type SendOptions,
  tooLarge,
} from "./outgoing-body.ts";
import { keptMsOf, prefixed, type RetainOptions } from "./retention.ts";
import { checkTopicArgument } from "./topic-argument.ts";
import type { UnsentMessage } from "./unsent-messages.ts";

/** Choices for one message. */
export interface PublishOptions extends SendOptions, RetainOptions {}

/** Asks the broker for a topic id. */
export type TopicOpener = (name: string) => Promise<number>;

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

/** A message on its way, with fds or without. */
type OutgoingMessage = MessageWithFds & { readonly opcode: number };

const NO_FDS: readonly number[] = [];

/** The publishing half of a bus. */
export class Publisher {
  readonly #outbound: Outbound;
  readonly #openTopic: TopicOpener;
  readonly #onDenied: (error: Error) => void;
  readonly #topics = new OpenTopics();
  /** What each id of this connection means; of a closed topic, until the id comes to mean another. */
  readonly #names = new Map<number, string>();
  /** Messages and barriers that came while a topic before them was not open yet. */
  #held: (HeldMessage | (() => void))[] = [];
  #heldBytes = 0;
  #heldBytesMax = OUTBOUND_BYTES_MAX;
  #isSuspended = false;
  /** Counts connections: an answer of the last one must not be taken for one of this. */
  #generation = 0;

  constructor(outbound: Outbound, openTopic: TopicOpener, onDenied: (error: Error) => void) {
    this.#outbound = outbound;
    this.#openTopic = openTopic;
    this.#onDenied = onDenied;
    outbound.whenRoom(() => this.#release());
  }

  /** See Bus.publish(). */
  publish(name: string, data: unknown, options?: PublishOptions): boolean {
    const keptMs = options === undefined ? undefined : keptMsOf(options);
    const topic = this.#topics.use(name) ?? this.#open(name);
    if (keptMs !== undefined) this.#writeRetained(topic, data, options, keptMs);
    else if (options === undefined && data instanceof Uint8Array) {
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

  /**
   * The connection is lost: ids and denials with it. Messages are kept until resume().
   * @param unsent handed over; they go before those that wait for a topic
   * @param bytesMax what publish() may keep from now on
   */
  suspend(unsent: readonly UnsentMessage[], bytesMax: number): void {
    this.#isSuspended = true;
    this.#generation += 1;
    this.#heldBytesMax = bytesMax;
    const waiting = this.#held;
    this.#topics.clear();
    this.#held = unsent.map((message) => this.#keep(message, this.#nameOf(message.topicId)));
    for (const held of waiting) {
      this.#held.push(typeof held === "function" ? held : this.#keep(held, held.topic.name));
    }
    this.#names.clear();
    this.#heldBytes = this.#held.reduce((sum, held) => sum + heldBytesOf(held), 0);
  }

  /** There is a connection again: asks for the topics of what was kept, and sends it as they open. */
  resume(): void {
    this.#isSuspended = false;
    this.#heldBytesMax = OUTBOUND_BYTES_MAX;
    this.#release();
  }

  /** Whether messages wait for a topic, or for a connection. */
  get holdsMessages(): boolean {
    return this.#held.some((held) => typeof held !== "function");
  }

  /**
   * Lets go of messages that wait. Barriers call back: nothing is before them now.
   * @returns how many messages
   */
  clear(): number {
    const dropped = this.#held;
    let count = 0;
    this.#held = [];
    this.#heldBytes = 0;
    // Topics that were to be opened for them alone.
    if (this.#isSuspended) this.#topics.clear();
    for (const held of dropped) {
      if (typeof held === "function") {
        held();
        continue;
      }
      count += 1;
      this.#drop(held);
    }
    return count;
  }

  #write(topic: OpenedTopic, encoding: Encoding, body: Uint8Array, fds: readonly number[]): void {
    if (topic.denial !== undefined) throw topic.denial;
    if (body.byteLength > MESSAGE_BODY_BYTES_MAX) this.#writeLarge(topic, encoding, body, fds);
    else if (fds.length === 0 && !this.#mustHold(topic)) {
      this.#outbound.message(topic.id, encoding, body);
    } else {
      const { MESSAGE: opcode } = OPCODE;
      this.#send(topic, { opcode, flags: encoding, body, fds, memoryBytes: 0 });
    }
  }

  #writeRetained(
    topic: OpenedTopic,
    data: unknown,
    options: PublishOptions | undefined,
    keptMs: number,
  ): void {
    if (topic.denial !== undefined) throw topic.denial;
    const action = { verb: "publish on", name: topic.name };
    using outgoing = OutgoingBody.of(data, options, PREFIXED_BODY_BYTES_MAX, action);
    const { flags, bytes, fds, memoryBytes } = outgoing;
    const body = prefixed(keptMs, bytes);
    this.#send(topic, { opcode: OPCODE.RETAIN, flags, body, fds, memoryBytes });
  }

  /** A body that no packet can carry goes into memory of its own. */
  #writeLarge(
    topic: OpenedTopic,
    encoding: Encoding,
    body: Uint8Array,
    fds: readonly number[],
  ): void {
    if (body.byteLength > LARGE_BODY_BYTES_MAX)
      throw tooLarge({ verb: "publish on", name: topic.name }, body.byteLength);
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
    if (byteLength > LARGE_BODY_BYTES_MAX)
      throw tooLarge({ verb: "publish on", name: topic.name }, byteLength);
    const fds = fdsBehind(fd, files);
    const body = new Uint8Array(LARGE_SIZE_BYTES);
    new DataView(body.buffer).setUint32(0, byteLength, true);
    const { MESSAGE: opcode } = OPCODE;
    const flags = encoding | FLAG_LARGE;
    this.#send(topic, { opcode, flags, body, fds, memoryBytes: byteLength });
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
    if (this.#heldBytes > this.#heldBytesMax) {
      const what = this.#isSuspended ? "the broker to come back" : "the broker";
      throw new LimitError(
        "LIMIT_OUTBOUND",
        `Cannot publish on "${topic.name}": ${this.#heldBytes} bytes wait for ${what}`,
        { limit: this.#heldBytesMax, actual: this.#heldBytes },
      );
    }
    const copy = { body: body.slice(), fds: duplicateAll(fds) };
    const held = { topic, opcode, flags, ...copy, memoryBytes };
    this.#held.push(held);
    topic.held += 1;
    this.#heldBytes += heldBytesOf(held);
    if (topic.isAsked || this.#isSuspended) return;
    if (this.#topics.hasRoom) this.#ask(topic);
    else if (this.#held.length === 1) this.#askFrom(0);
  }

  #open(name: string): OpenedTopic {
    checkTopicArgument(name, "Cannot publish on");
    return this.#topics.add(name);
  }

  /**
   * Asks for topics of held messages, from one whose topic was not asked for, as far as there is room.
   * Room is made for the first one, unless all others wait for their answers: then these come first.
   */
  #askFrom(index: number): void {
    if (!this.#topics.hasRoom) this.#makeRoom();
    for (let at = index; at < this.#held.length && this.#topics.hasRoom; at += 1) {
      const held = this.#held[at];
      if (typeof held !== "object") continue;
      if (!held.topic.isAsked && held.topic.denial === undefined) this.#ask(held.topic);
    }
  }

  #ask(topic: OpenedTopic): void {
    const generation = this.#generation;
    this.#topics.noteAsked(topic);
    const answered = (id: number, denial: Error | undefined) => {
      if (generation !== this.#generation) return;
      if (denial instanceof LimitError) this.#noteFull(topic, denial);
      else if (denial !== undefined) this.#topics.noteDenied(topic, denial);
      else {
        topic.id = id;
        this.#names.set(id, topic.name);
      }
      this.#release();
    };
    this.#openTopic(topic.name).then(
      (id) => answered(id, undefined),
      (error: Error) => answered(0, error),
    );
  }

  /** There are too many topics, at the broker or of this user. That may pass: it is asked for again. */
  #noteFull(topic: OpenedTopic, error: LimitError): void {
    if (this.#topics.noteRefused(topic)) return;
    // Nothing can be closed for it: its messages are refused, and it is asked for at the next one.
    this.#topics.noteDenied(topic, error);
    this.#topics.forget(topic);
  }

  /** Closes topics. Their messages went out before, and the broker takes everything in order. */
  #makeRoom(): void {
    const idle = this.#topics.takeIdle();
    const ids = idle.length > 0 ? idle : this.#topics.takeHeld();
    for (const id of ids) this.#outbound.control({ opcode: OPCODE.CLOSE_TOPIC, id });
  }

  #nameOf(id: number): string {
    const name = this.#names.get(id);
    assert(name !== undefined, `topic id ${id} was opened before it was used`);
    return name;
  }

  /** A message for the next connection, which has not opened its topic yet. */
  #keep(message: Omit<HeldMessage, "topic">, name: string): HeldMessage {
    const { opcode, flags, body, fds, memoryBytes } = message;
    const topic = this.#topics.find(name) ?? this.#topics.add(name);
    topic.held += 1;
    return { topic, opcode, flags, body, fds, memoryBytes };
  }

  /**
   * Sends held messages in order, up to the first whose topic is still not answered for. Not more
   * than the broker reads: what waits in packets takes room a second time.
   */
  #release(): void {
    if (this.#isSuspended) return;
    let released = 0;
    for (const held of this.#held) {
      if (typeof held === "function") held();
      else if (held.topic.denial !== undefined) this.#refuse(held, held.topic.denial);
      else if (held.topic.id !== 0 && this.#outbound.hasRoom) this.#releaseMessage(held);
      else {
        if (!held.topic.isAsked) this.#askFrom(released);
        break;
      }
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
    this.#drop(held);
  }

  #drop(held: HeldMessage): void {
    held.topic.held -= 1;
    for (const fd of held.fds) fd.close();
  }
}

function heldBytesOf(held: HeldMessage | (() => void)): number {
  if (typeof held === "function") return 0;
  return KEPT_MESSAGE_BYTES + held.body.byteLength + held.memoryBytes;
}
