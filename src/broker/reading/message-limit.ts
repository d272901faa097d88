/**
 * What becomes of a message whose body is larger than its topic, or its sender's user, may have: it
 * goes nowhere, and the sender and the log are told. How large it may be is BusState's
 * messageBytesMax(); routing it nowhere is for whoever takes the message.
 */

import { errorBody } from "../../protocol/control-messages.ts";
import { FRAME_KIND_WORD, opcodeOf } from "../../protocol/frame.ts";
import { FRAME_HEADER_BYTES, LARGE_BODY_BYTES_MAX } from "../../protocol/limits.ts";
import { OPCODE, prefixBytesOf } from "../../protocol/opcodes.ts";
import { isLarge, largeBodyBytes } from "../../protocol/packet.ts";
import { STATUS } from "../../protocol/status-codes.ts";
import type { Connection } from "../connection.ts";
import type { BrokerEventListener } from "../events.ts";
import type { ControlSender } from "../routing/introductions.ts";

/** Who is told. */
export interface TooLargeListeners {
  readonly send: ControlSender;
  readonly onEvent: BrokerEventListener;
}

/** What is too large. */
export interface TooLarge {
  readonly topic: string;
  /** Bytes that its body may have. */
  readonly limit: number;
  /** Those that it has: not what a client claims beyond LARGE_BODY_BYTES_MAX. */
  readonly actual: number;
  /** Default: a message. */
  readonly kind?: "message" | "request" | "reply";
}

/**
 * Bytes of the body of a message, request or reply, in its frame or behind its first fd.
 * @param offset where its frame starts
 */
export function bodyBytesOf(words: Uint32Array, offset: number): number {
  const word = offset >>> 2;
  const kind = words[word + FRAME_KIND_WORD] ?? 0;
  if (isLarge(kind)) return largeBodyBytes(words, offset);
  return (words[word] ?? 0) - FRAME_HEADER_BYTES - prefixBytesOf(opcodeOf(kind));
}

/** Whether a body is too large. What no body can have is refused elsewhere, as no body at all. */
export function isTooLarge(bodyBytes: number, limit: number): boolean {
  return bodyBytes > limit && bodyBytes <= LARGE_BODY_BYTES_MAX;
}

/**
 * Tells that a message was refused for its size; counting it as denied is the caller's.
 * @param answer who gets the ERROR, and what it answers. Default: the sender, and nothing
 */
export function tellTooLarge(
  { send, onEvent }: TooLargeListeners,
  sender: Connection,
  { topic, limit, actual, kind = "message" }: TooLarge,
  answer: { readonly to: Connection; readonly id: number } = { to: sender, id: 0 },
): void {
  const cannot = kind === "message" ? "Cannot publish on" : "Cannot call";
  const text = `${cannot} "${topic}": ${kind} is ${actual} bytes, limit is ${limit}`;
  const code = "LIMIT_MESSAGE_BYTES";
  const body = errorBody({ status: STATUS[code], message: text, topic, limit, actual });
  send(answer.to, { opcode: OPCODE.ERROR, id: answer.id, body });
  const { id, identity } = sender;
  onEvent({ type: "limited", connection: id, identity, code, topic, limit, actual, message: text });
}
