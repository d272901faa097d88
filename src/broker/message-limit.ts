/**
 * What becomes of a message whose body is larger than its topic, or its sender's user, may have: it
 * goes nowhere, and the sender and the log are told. How large it may be is BusState's
 * messageBytesMax(); routing it nowhere is for whoever takes the message.
 */

import { errorBody } from "../protocol/control-messages.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import { STATUS } from "../protocol/status-codes.ts";
import type { Connection } from "./connection.ts";
import type { BrokerEventListener } from "./events.ts";
import type { ControlSender } from "./introductions.ts";

/** Who is told. */
export interface TooLargeListeners {
  readonly send: ControlSender;
  readonly onEvent: BrokerEventListener;
}

/**
 * Tells that a message was refused for its size; counting it as denied is the caller's.
 * @param message its topic, the bytes that its body may have, and those that it has: not what a
 *   client claims beyond LARGE_BODY_BYTES_MAX
 * @param requestId what the ERROR answers; 0 for a plain message
 */
export function tellTooLarge(
  { send, onEvent }: TooLargeListeners,
  sender: Connection,
  message: { readonly topic: string; readonly limit: number; readonly actual: number },
  requestId = 0,
): void {
  const { topic, limit, actual } = message;
  const text = `Cannot publish on "${topic}": message is ${actual} bytes, limit is ${limit}`;
  const code = "LIMIT_MESSAGE_BYTES";
  const body = errorBody({ status: STATUS[code], message: text, topic, limit, actual });
  send(sender, { opcode: OPCODE.ERROR, id: requestId, body });
  const { id, identity } = sender;
  onEvent({ type: "limited", connection: id, identity, code, topic, limit, actual, message: text });
}
