/**
 * Wire numbers of the error codes that ERROR and GOODBYE frames carry. Numbers are never reused;
 * docs/protocol.md lists them and a test compares.
 */

import type { ErrorCode } from "../errors.ts";

/** Wire number of each code that can cross the wire. */
export const STATUS = {
  PROTOCOL_VERSION: 1,
  PROTOCOL_STATE: 2,
  PROTOCOL_PACKET_SIZE: 3,
  PROTOCOL_FRAME_LENGTH: 4,
  PROTOCOL_OPCODE: 5,
  PROTOCOL_FLAGS: 6,
  PROTOCOL_FD_COUNT: 7,
  PROTOCOL_CONTROL_BODY: 8,
  PROTOCOL_TOPIC_ID: 9,
  PROTOCOL_REQUEST_ID: 10,
  REJECTED_BY_POLICY: 32,
  REJECTED_NOT_OWNER: 33,
  REJECTED_TOPIC_NAME: 34,
  REJECTED_PATTERN: 35,
  REJECTED_SUBSCRIPTION: 36,
  REJECTED_SENDER: 37,
  REJECTED_NOT_ADMINISTRATOR: 38,
  REJECTED_ACTION: 39,
  REJECTED_FD_KIND: 40,
  REJECTED_LARGE_BODY: 41,
  REJECTED_NO_SERVICE: 42,
  REJECTED_SERVICE_OWNED: 43,
  REJECTED_SERVICE: 44,
  REJECTED_RETAIN: 45,
  REJECTED_GROUP: 46,
  REJECTED_NO_CHANNEL: 47,
  REJECTED_OVERFLOW: 48,
  REJECTED_REPLY: 49,
  LIMIT_CONNECTIONS: 64,
  LIMIT_TOPICS: 65,
  LIMIT_SUBSCRIPTIONS: 66,
  LIMIT_QUEUED_FDS: 67,
  LIMIT_CONTROL_QUEUE: 68,
  LIMIT_MESSAGE_BYTES: 69,
  LIMIT_PENDING_CALLS: 70,
  LIMIT_RETAINED: 71,
  LIMIT_SERVICES: 72,
  LIMIT_SLOW_READER: 73,
  LIMIT_REPLY: 74,
  CLOSED_BY_BROKER: 96,
  CLOSED_BY_SERVICE: 97,
  TIMEOUT_HELLO: 128,
  CONFIG_POLICY: 160,
} as const satisfies Partial<Record<ErrorCode, number>>;

/** A code that has a wire number. */
export type StatusName = keyof typeof STATUS;

const NAME_BY_STATUS = new Map<number, StatusName>(
  Object.entries(STATUS).map(([name, status]) => [status, name as StatusName]),
);

/**
 * The code behind a wire number.
 * @returns undefined for a number of a later protocol version
 */
export function statusName(status: number): StatusName | undefined {
  return NAME_BY_STATUS.get(status);
}
