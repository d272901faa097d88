/**
 * Publishing by topic name: opens a topic at its first message, keeps order over all topics while
 * the broker answers, and remembers what was denied.
 */

import { ArgumentError, LimitError, RejectedError } from "../errors.ts";
import { assertFd } from "../ffi/fd-number.ts";
import type { OwnedFd } from "../ffi/owned-fd.ts";
import { FDS_REFUSED } from "../ffi/syscall-result.ts";
import type { OpenTopicAck } from "../protocol/control-messages.ts";
import { FRAME_HEADER_BYTES, MESSAGE_BODY_BYTES_MAX, MESSAGE_FDS_MAX } from "../protocol/limits.ts";
import { ENCODING, type Encoding } from "../protocol/opcodes.ts";
import { STATUS } from "../protocol/status-codes.ts";
import { checkTopicName } from "../protocol/topics.ts";
import { type EncodingName, encodeBody } from "./body-codec.ts";
import { duplicateAll } from "./borrowed-fds.ts";
import { OUTBOUND_BYTES_HIGH, OUTBOUND_BYTES_MAX } from "./limits.ts";
import type { Outbound } from "./outbound.ts";

/** Something that stands for an open fd: a number, or an object that has one (Bun, node:fs). */
export type FdLike = number | { readonly fd: number };

/** Choices for one message. */
export interface PublishOptions {
  /** Default "auto": bytes for a Uint8Array, text for a string, msgpack for all else. */
  readonly encoding?: EncodingName;
  /** Files to pass along, at most 253. Borrowed: you may close yours when publish() returns. */
  readonly fds?: readonly FdLike[];
}

/** Asks the broker for a topic id, and what may be sent there. */
export type TopicOpener = (name: string) => Promise<OpenTopicAck>;

interface OpenedTopic {
  readonly name: string;
  /** 0 until the broker has answered. */
  id: number;
  /** Why nothing can be published here. */
  denial: Error | undefined;
  /** The rule that denies fds here, where it is known. */
  fdsRule: string | undefined;
}

interface HeldMessage {
  readonly topic: OpenedTopic;
  readonly encoding: Encoding;
  readonly body: Uint8Array;
  readonly fds: readonly OwnedFd[];
}

const NO_FDS: readonly number[] = [];

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
    const topic = this.#topics.get(name) ?? this.#open(name);
    if (options === undefined && data instanceof Uint8Array) {
      this.#write(topic, ENCODING.BYTES, data, NO_FDS);
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
    const topic = this.#topics.get(name);
    if (topic !== undefined) topic.denial = error;
  }

  /** The broker took the right to send fds on a topic away. */
  revokeFds(name: string, rule: string | undefined): void {
    const topic = this.#topics.get(name);
    if (topic !== undefined) topic.fdsRule = rule;
  }

  /** The policy changed: topics that were denied are asked for again at their next message. */
  forgetDenials(): void {
    for (const topic of this.#topics.values()) {
      topic.fdsRule = undefined;
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

  #write(topic: OpenedTopic, encoding: Encoding, body: Uint8Array, fds: readonly number[]): void {
    if (body.byteLength > MESSAGE_BODY_BYTES_MAX) throw tooLarge(topic.name, body.byteLength);
    if (topic.denial !== undefined) throw topic.denial;
    if (topic.id === 0 || this.#held.length > 0) this.#hold(topic, encoding, body, fds);
    else this.#send(topic, encoding, body, fds);
  }

  #send(topic: OpenedTopic, encoding: Encoding, body: Uint8Array, fds: readonly number[]): void {
    if (fds.length === 0) return this.#outbound.message(topic.id, encoding, body);
    const refusal = this.#outbound.messageWithFds(topic.id, encoding, body, fds, (late) =>
      this.#onDenied(fdsError(topic, late)),
    );
    if (refusal !== 0) throw fdsError(topic, refusal);
  }

  #hold(topic: OpenedTopic, encoding: Encoding, body: Uint8Array, fds: readonly number[]): void {
    const bytes = FRAME_HEADER_BYTES + body.byteLength;
    if (this.#heldBytes + bytes > OUTBOUND_BYTES_MAX) {
      throw new LimitError(
        "LIMIT_OUTBOUND",
        `Cannot publish on "${topic.name}": ${this.#heldBytes} bytes wait for topics to open`,
        { limit: OUTBOUND_BYTES_MAX, actual: this.#heldBytes + bytes },
      );
    }
    this.#held.push({ topic, encoding, body: body.slice(), fds: duplicateAll(fds) });
    this.#heldBytes += bytes;
  }

  #open(name: string): OpenedTopic {
    const flaw = checkTopicName(name);
    if (flaw !== undefined) {
      throw new ArgumentError("ARGUMENT_TOPIC", `Cannot publish: ${flaw}`, "topic");
    }
    const topic: OpenedTopic = { name, id: 0, denial: undefined, fdsRule: undefined };
    this.#topics.set(name, topic);
    this.#openTopic(name).then(
      (granted) => {
        topic.id = granted.topic;
        topic.fdsRule = granted.rule;
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
      this.#send(held.topic, held.encoding, held.body, fds);
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
    this.#heldBytes -= FRAME_HEADER_BYTES + held.body.byteLength;
    for (const fd of held.fds) fd.close();
  }
}

function fdNumbers(fds: readonly FdLike[] | undefined): readonly number[] {
  if (fds === undefined || fds.length === 0) return NO_FDS;
  if (fds.length > MESSAGE_FDS_MAX) {
    throw new LimitError(
      "LIMIT_MESSAGE_FDS",
      `Cannot publish ${fds.length} fds with one message, limit is ${MESSAGE_FDS_MAX}`,
      { limit: MESSAGE_FDS_MAX, actual: fds.length },
    );
  }
  return fds.map((fd) => {
    const number: unknown = typeof fd === "number" ? fd : fd?.fd;
    assertFd(number, "fds");
    return number;
  });
}

function tooLarge(name: string, bytes: number): LimitError {
  return new LimitError(
    "LIMIT_MESSAGE_BYTES",
    `Cannot publish on "${name}": message is ${bytes} bytes, limit is ${MESSAGE_BODY_BYTES_MAX}`,
    { limit: MESSAGE_BODY_BYTES_MAX, actual: bytes },
  );
}

/** @param refusal as Outbound.messageWithFds() returns it */
function fdsError(topic: OpenedTopic, refusal: number): RejectedError | LimitError {
  const { name, fdsRule: rule } = topic;
  const cannot = `Cannot publish file descriptors on "${name}"`;
  if (refusal === FDS_REFUSED) {
    const message = `${cannot}: the kernel takes no more of them from this user now`;
    return new LimitError("LIMIT_QUEUED_FDS", message);
  }
  const why = rule === undefined ? "the policy does not allow it" : `rule "${rule}" denies it`;
  const fields = { status: STATUS.REJECTED_BY_POLICY, rule, topic: name };
  return new RejectedError("REJECTED_BY_POLICY", `${cannot}: ${why}`, fields);
}
