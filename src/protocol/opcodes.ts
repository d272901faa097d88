/**
 * Opcodes, flags and feature bits of the wire. docs/protocol.md lists the same numbers; a test
 * compares them. 0x00-0x3f may come from a client, 0x80-0xbf come from the broker, MESSAGE both.
 * The rules at the end say what each side may send; packet.ts applies them.
 */

import { CONTROL_BODY_BYTES_MAX, MESSAGE_BODY_BYTES_MAX, MESSAGE_FDS_MAX } from "./limits.ts";

/** What a frame is. Kept as numbers, since the hot path compares whole header words. */
export const OPCODE = {
  HELLO: 0x01,
  OPEN_TOPIC: 0x02,
  CLOSE_TOPIC: 0x03,
  SUBSCRIBE: 0x04,
  UNSUBSCRIBE: 0x05,
  SYNC: 0x06,
  NOOP: 0x07,
  RELOAD_POLICY: 0x08,
  EXPLAIN: 0x09,
  MESSAGE: 0x10,
  WELCOME: 0x80,
  ACK: 0x81,
  ERROR: 0x82,
  TOPIC: 0x83,
  SENDER: 0x84,
  SENDER_GONE: 0x85,
  GAP: 0x86,
  GOODBYE: 0x87,
  REVOKED: 0x88,
  POLICY_CHANGED: 0x89,
} as const;

/** How the body of a MESSAGE is encoded: the low two bits of its flags. The broker never looks. */
export const ENCODING = { BYTES: 0, TEXT: 1, JSON: 2, MSGPACK: 3 } as const;

/** One of the values of ENCODING. */
export type Encoding = (typeof ENCODING)[keyof typeof ENCODING];

/** The bits of MESSAGE flags that hold the encoding. */
export const FLAGS_ENCODING_MASK = 0x03;

/** MESSAGE: the body is the memory behind the first fd; its length stands in the frame. */
export const FLAG_LARGE = 0x04;

/** MESSAGE, broker to client: the fds wait on the fd lane, in the next record there. */
export const FLAG_FDS_ON_LANE = 0x40;

/** MESSAGE, broker to client: the message had fds that this connection does not get. */
export const FLAG_FDS_WITHHELD = 0x80;

/** ERROR: the broker closes the connection after this frame. */
export const FLAG_FATAL = 0x01;

/** Feature bit: the client wants fds on a lane of its own instead of in-band. */
export const FEATURE_FD_LANE = 0x01;

/** Why messages are missing, as a GAP frame says it. */
export const GAP_REASON = {
  /** The connection's send queue in the broker was full. */
  SEND_QUEUE_FULL: 1,
  /** The kernel did not pass on the fd that the body of a large message is behind. */
  BODY_REFUSED: 2,
} as const;

/** What one side may send under one opcode. */
export interface FrameRule {
  readonly opcode: number;
  /** The flag bits that may be set. */
  readonly flags: number;
  /** fds that may travel with the frame at most. */
  readonly fdCountMax: number;
  /** Bytes of the body at most; 0 where the body must be empty. */
  readonly bodyBytesMax: number;
}

/** Every frame that a client may send. */
export const CLIENT_FRAME_RULES: readonly FrameRule[] = [
  controlRule(OPCODE.HELLO, CONTROL_BODY_BYTES_MAX),
  controlRule(OPCODE.OPEN_TOPIC, CONTROL_BODY_BYTES_MAX),
  controlRule(OPCODE.CLOSE_TOPIC, 0),
  controlRule(OPCODE.SUBSCRIBE, CONTROL_BODY_BYTES_MAX),
  controlRule(OPCODE.UNSUBSCRIBE, CONTROL_BODY_BYTES_MAX),
  controlRule(OPCODE.SYNC, 0),
  controlRule(OPCODE.NOOP, 0),
  controlRule(OPCODE.RELOAD_POLICY, 0),
  controlRule(OPCODE.EXPLAIN, CONTROL_BODY_BYTES_MAX),
  {
    opcode: OPCODE.MESSAGE,
    flags: FLAGS_ENCODING_MASK | FLAG_LARGE,
    fdCountMax: MESSAGE_FDS_MAX,
    bodyBytesMax: MESSAGE_BODY_BYTES_MAX,
  },
];

/** Every frame that the broker may send. */
export const BROKER_FRAME_RULES: readonly FrameRule[] = [
  {
    opcode: OPCODE.MESSAGE,
    flags: FLAGS_ENCODING_MASK | FLAG_LARGE | FLAG_FDS_ON_LANE | FLAG_FDS_WITHHELD,
    fdCountMax: MESSAGE_FDS_MAX,
    bodyBytesMax: MESSAGE_BODY_BYTES_MAX,
  },
  { ...controlRule(OPCODE.WELCOME, MESSAGE_BODY_BYTES_MAX), fdCountMax: 1 },
  controlRule(OPCODE.ACK, MESSAGE_BODY_BYTES_MAX),
  { ...controlRule(OPCODE.ERROR, MESSAGE_BODY_BYTES_MAX), flags: FLAG_FATAL },
  controlRule(OPCODE.TOPIC, MESSAGE_BODY_BYTES_MAX),
  controlRule(OPCODE.SENDER, MESSAGE_BODY_BYTES_MAX),
  controlRule(OPCODE.SENDER_GONE, 0),
  controlRule(OPCODE.GAP, MESSAGE_BODY_BYTES_MAX),
  controlRule(OPCODE.GOODBYE, MESSAGE_BODY_BYTES_MAX),
  controlRule(OPCODE.REVOKED, MESSAGE_BODY_BYTES_MAX),
  controlRule(OPCODE.POLICY_CHANGED, 0),
];

function controlRule(opcode: number, bodyBytesMax: number): FrameRule {
  return { opcode, flags: 0, fdCountMax: 0, bodyBytesMax };
}
