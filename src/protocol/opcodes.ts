/**
 * Opcodes, flags and feature bits of the wire. docs/protocol.md lists the same numbers; a test
 * compares them. 0x00-0x3f may come from a client, 0x80-0xbf come from the broker, 0x10-0x1f both.
 * The rules at the end say what each side may send; packet.ts applies them.
 */

import {
  BODY_PREFIX_BYTES,
  CHANNEL_FDS,
  CONTROL_BODY_BYTES_MAX,
  MESSAGE_BODY_BYTES_MAX,
  MESSAGE_FDS_MAX,
} from "./limits.ts";

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
  OPEN_SERVICE: 0x0a,
  CLOSE_SERVICE: 0x0b,
  SERVE: 0x0c,
  UNSERVE: 0x0d,
  WATCH: 0x0e,
  UNWATCH: 0x0f,
  MESSAGE: 0x10,
  REQUEST: 0x11,
  REPLY: 0x12,
  CANCEL: 0x13,
  CREDIT: 0x14,
  RETAIN: 0x20,
  CLEAR_RETAINED: 0x21,
  OPEN_CHANNEL: 0x22,
  QUERY: 0x23,
  PAUSE: 0x24,
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
  SERVICE: 0x8a,
  OWNERSHIP: 0x8b,
  CHANNEL: 0x8c,
  HELD: 0x8d,
} as const;

/** How the body of a message is encoded: the low two bits of its flags. The broker never looks. */
export const ENCODING = { BYTES: 0, TEXT: 1, JSON: 2, MSGPACK: 3 } as const;

/** One of the values of ENCODING. */
export type Encoding = (typeof ENCODING)[keyof typeof ENCODING];

/** The bits of the flags of MESSAGE, RETAIN, REQUEST and REPLY that hold the encoding. */
export const FLAGS_ENCODING_MASK = 0x03;

/** In these four: the body is the memory behind the first fd; its length stands in the frame. */
export const FLAG_LARGE = 0x04;

/** MESSAGE, broker to client: the last value of its topic, from before the subscription. */
export const FLAG_RETAINED = 0x08;

/** REQUEST: the caller takes a reply in several parts. */
export const FLAG_STREAM = 0x08;

/** REPLY: a part, and more parts follow. */
export const FLAG_MORE = 0x08;

/** REPLY: the handler failed, and the body says how. */
export const FLAG_FAILED = 0x10;

/** Broker to client: the fds wait on the fd lane, in the next record there. */
export const FLAG_FDS_ON_LANE = 0x40;

/** Broker to client: the message had fds that this connection does not get. */
export const FLAG_FDS_WITHHELD = 0x80;

/** CANCEL: the caller's time is up. */
export const FLAG_TIMED_OUT = 0x01;

/** CANCEL, broker to client: the caller is gone. */
export const FLAG_CALLER_GONE = 0x02;

/** SYNC: answer once no fd of this client's is on its way any more. */
export const FLAG_WAIT_FDS = 0x01;

/** PAUSE: no longer, go on. */
export const FLAG_RESUME = 0x01;

/** ERROR: the broker closes the connection after this frame. */
export const FLAG_FATAL = 0x01;

/** Feature bit: the client wants fds on a lane of its own instead of in-band. */
export const FEATURE_FD_LANE = 0x01;

/** Feature bit: the client wants to be told when it is held back. */
export const FEATURE_HELD = 0x02;

/** Feature bit: the client may say PAUSE. A broker that does not know it would end it for that. */
export const FEATURE_PAUSE = 0x04;

/** Why messages are missing, as a GAP frame says it. */
export const GAP_REASON = {
  /** The connection's send queue in the broker was full. */
  SEND_QUEUE_FULL: 1,
  /** The kernel did not pass on the fd that the body of a large message is behind. */
  BODY_REFUSED: 2,
  /** Older messages made room for newer ones, as the subscription asked. */
  OLDEST_DROPPED: 3,
  /** A newer message of the same topic stands for them, as the subscription asked. */
  SUPERSEDED: 4,
  /** A large body waited longer than fds may. */
  BODY_EXPIRED: 5,
} as const;

/** Why a client does not get the fds of a message, as the detail byte says it. */
export const WITHHELD_REASON = {
  /** The policy does not let this client receive them. */
  POLICY: 1,
  /** The kernel did not pass them on. */
  KERNEL: 2,
  /** They waited longer than fds may. */
  EXPIRED: 3,
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

/** Bytes before the body proper of the frames that have a prefix; 0 for all others. */
export function prefixBytesOf(opcode: number): number {
  return opcode === OPCODE.REQUEST || opcode === OPCODE.RETAIN ? BODY_PREFIX_BYTES : 0;
}

/** Whether a frame of this opcode carries a message's body, which the broker never looks at. */
export function carriesBody(opcode: number): boolean {
  if (opcode === OPCODE.MESSAGE || opcode === OPCODE.REPLY) return true;
  return opcode === OPCODE.REQUEST || opcode === OPCODE.RETAIN;
}

const BODY_FLAGS = FLAGS_ENCODING_MASK | FLAG_LARGE;
const DELIVERED_FLAGS = BODY_FLAGS | FLAG_FDS_ON_LANE | FLAG_FDS_WITHHELD;

/** Every frame that a client may send. */
export const CLIENT_FRAME_RULES: readonly FrameRule[] = [
  controlRule(OPCODE.HELLO, CONTROL_BODY_BYTES_MAX),
  controlRule(OPCODE.OPEN_TOPIC, CONTROL_BODY_BYTES_MAX),
  controlRule(OPCODE.CLOSE_TOPIC, 0),
  controlRule(OPCODE.SUBSCRIBE, CONTROL_BODY_BYTES_MAX),
  controlRule(OPCODE.UNSUBSCRIBE, CONTROL_BODY_BYTES_MAX),
  { ...controlRule(OPCODE.SYNC, 0), flags: FLAG_WAIT_FDS },
  controlRule(OPCODE.NOOP, 0),
  controlRule(OPCODE.RELOAD_POLICY, 0),
  controlRule(OPCODE.EXPLAIN, CONTROL_BODY_BYTES_MAX),
  controlRule(OPCODE.OPEN_SERVICE, CONTROL_BODY_BYTES_MAX),
  controlRule(OPCODE.CLOSE_SERVICE, 0),
  controlRule(OPCODE.SERVE, CONTROL_BODY_BYTES_MAX),
  controlRule(OPCODE.UNSERVE, CONTROL_BODY_BYTES_MAX),
  controlRule(OPCODE.WATCH, CONTROL_BODY_BYTES_MAX),
  controlRule(OPCODE.UNWATCH, CONTROL_BODY_BYTES_MAX),
  bodyRule(OPCODE.MESSAGE, BODY_FLAGS),
  bodyRule(OPCODE.REQUEST, BODY_FLAGS | FLAG_STREAM),
  bodyRule(OPCODE.REPLY, BODY_FLAGS | FLAG_MORE | FLAG_FAILED),
  { ...controlRule(OPCODE.CANCEL, 0), flags: FLAG_TIMED_OUT },
  controlRule(OPCODE.CREDIT, CONTROL_BODY_BYTES_MAX),
  bodyRule(OPCODE.RETAIN, BODY_FLAGS),
  controlRule(OPCODE.CLEAR_RETAINED, CONTROL_BODY_BYTES_MAX),
  controlRule(OPCODE.OPEN_CHANNEL, CONTROL_BODY_BYTES_MAX),
  controlRule(OPCODE.QUERY, CONTROL_BODY_BYTES_MAX),
  { ...controlRule(OPCODE.PAUSE, 0), flags: FLAG_RESUME },
];

/** Every frame that the broker may send. */
export const BROKER_FRAME_RULES: readonly FrameRule[] = [
  bodyRule(OPCODE.MESSAGE, DELIVERED_FLAGS | FLAG_RETAINED),
  bodyRule(OPCODE.REQUEST, DELIVERED_FLAGS | FLAG_STREAM),
  bodyRule(OPCODE.REPLY, DELIVERED_FLAGS | FLAG_MORE | FLAG_FAILED),
  { ...controlRule(OPCODE.CANCEL, 0), flags: FLAG_TIMED_OUT | FLAG_CALLER_GONE },
  controlRule(OPCODE.CREDIT, MESSAGE_BODY_BYTES_MAX),
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
  controlRule(OPCODE.SERVICE, MESSAGE_BODY_BYTES_MAX),
  controlRule(OPCODE.OWNERSHIP, MESSAGE_BODY_BYTES_MAX),
  {
    opcode: OPCODE.CHANNEL,
    flags: FLAG_FDS_ON_LANE,
    fdCountMax: CHANNEL_FDS,
    bodyBytesMax: MESSAGE_BODY_BYTES_MAX,
  },
  controlRule(OPCODE.HELD, MESSAGE_BODY_BYTES_MAX),
];

function bodyRule(opcode: number, flags: number): FrameRule {
  return {
    opcode,
    flags,
    fdCountMax: MESSAGE_FDS_MAX,
    bodyBytesMax: MESSAGE_BODY_BYTES_MAX,
  };
}

function controlRule(opcode: number, bodyBytesMax: number): FrameRule {
  return { opcode, flags: 0, fdCountMax: 0, bodyBytesMax };
}
