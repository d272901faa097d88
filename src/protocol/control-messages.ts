/**
 * The bodies of the control frames of docs/protocol.md section 4, as types, with a decoder and the
 * way back for each. What the values mean for a connection is not decided here: a topic name may
 * still be malformed, an id unknown.
 *
 * decodeX() throws ProtocolError PROTOCOL_CONTROL_BODY where the body is not of its shape. Bodies
 * from clients are taken strictly, those from the broker leniently (control-shape.ts).
 */

import {
  type BodyMapper,
  bodyMapper,
  brokerBody,
  COUNT,
  clientBody,
  clientMapTaker,
  decodeClientMap,
  FLAG,
  oneOf,
  optional,
  type Shape,
  shortText,
  TEXT,
  U32,
  u32List,
} from "./control-shape.ts";
import { PROTOCOL_VERSION, SENDER_GROUPS_MAX, SOFTWARE_BYTES_MAX } from "./limits.ts";
import { OVERFLOW_POLICIES, type OverflowPolicy } from "./words.ts";

/** HELLO, to the broker. */
export interface Hello {
  readonly protocol: number;
  /** Sum of the feature bits that the client wants; unknown bits are allowed. */
  readonly features: number;
  /** Free text for the log, at most SOFTWARE_BYTES_MAX bytes. */
  readonly software?: string | undefined;
}

/** WELCOME, to the client. */
export interface Welcome {
  readonly protocol: number;
  /** Sum of the feature bits in force. */
  readonly features: number;
  /** The client's own connection id. */
  readonly connection: number;
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  readonly software: string;
}

/** OPEN_TOPIC, to the broker. */
export interface OpenTopic {
  /** Not yet checked as a topic name. */
  readonly topic: string;
}

/** ACK of OPEN_TOPIC, to the client. */
export interface OpenTopicAck {
  /** The topic id. */
  readonly topic: number;
  /** Whether messages on the topic may carry fds. */
  readonly sendFds: boolean;
}

/** SUBSCRIBE, to the broker. */
export interface Subscribe {
  /** Not yet checked as a pattern. */
  readonly pattern: string;
  /** The queue group to join; not yet checked. */
  readonly group?: string | undefined;
  /** Default: what the policy sets for the topic, else "drop-newest". */
  readonly overflow?: OverflowPolicy | undefined;
}

/** ACK of SUBSCRIBE, to the client. */
export interface SubscribeAck {
  /** The number that UNSUBSCRIBE takes. */
  readonly subscription: number;
}

/** UNSUBSCRIBE, to the broker. */
export interface Unsubscribe {
  readonly subscription: number;
}

/** ACK of SYNC, to the client: figures since the last SYNC. */
export interface SyncAck {
  readonly published: number;
  readonly matched: number;
  readonly delivered: number;
  readonly dropped: number;
  readonly denied: number;
  /** Of the delivered: behind others in the queue of a subscriber that reads slowly. */
  readonly queued: number;
  /** Of what was delivered before, whenever that was: lost in the queue of its subscriber. */
  readonly lostLater: number;
  /** The same, where a newer message of the topic stands for it, by the subscriber's wish. */
  readonly superseded: number;
  /** Copies of this client's fds that are on their way now. */
  readonly fdsWaiting: number;
  /** Copies of this client's fds that were closed because nobody took them in time. */
  readonly fdsExpired: number;
}

/** ERROR, to the client. */
export interface ErrorBody {
  /** A value of STATUS, or a number of a later protocol version. */
  readonly status: number;
  /** For a person, never to be parsed. */
  readonly message: string;
  /** The topic or pattern that was refused. */
  readonly topic?: string | undefined;
  /** The rule that decided, as `id` or `file:line`. */
  readonly rule?: string | undefined;
  /** Byte offset into the refused packet. */
  readonly offset?: number | undefined;
  /** The version that the broker speaks, with PROTOCOL_VERSION. */
  readonly protocol?: number | undefined;
  /** The limit that leaves no room for it, with a status of 64 to 95. */
  readonly limit?: number | undefined;
  /** What there is already, or how large it is, in the unit of `limit`. */
  readonly actual?: number | undefined;
}

/** TOPIC, to the client. */
export interface TopicBody {
  readonly topic: string;
  /** Messages under this id are for this client's subscriptions in that queue group alone. */
  readonly group?: string | undefined;
}

/** SENDER, to the client. */
export interface SenderBody {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** Supplementary group ids, the first SENDER_GROUPS_MAX of them. */
  readonly groups: number[];
  /** The systemd unit it runs in, where the kernel let the broker know. */
  readonly unit?: string | undefined;
  /** The path of its executable, where the kernel let the broker know. */
  readonly exe?: string | undefined;
}

/** GAP, to the client. */
export interface GapBody {
  /** Messages that are missing. */
  readonly count: number;
  /** A value of GAP_REASON, or a number of a later protocol version. */
  readonly reason: number;
}

/** GOODBYE, to the client. */
export interface GoodbyeBody {
  /** A value of STATUS, or a number of a later protocol version. */
  readonly status: number;
  readonly message: string;
}

/** REVOKED, to the client. */
export interface RevokedBody {
  /** For a person, never to be parsed. */
  readonly message: string;
  /** The right that is gone, as the policy file calls it. */
  readonly action: string;
  /** The topic, or the pattern of the subscription. */
  readonly topic: string;
  /** The rule that decided, as `id` or `file:line`. */
  readonly rule?: string | undefined;
  /** The subscription that is removed, where `action` is "subscribe". */
  readonly subscription?: number | undefined;
}

/** HELD, to a client with FEATURE_HELD. */
export interface HeldBody {
  /** On which the next message is that the broker does not take. */
  readonly topic: string;
  /** Milliseconds for which it has been, or was, held back. */
  readonly heldMs: number;
  /** False once it goes on. */
  readonly isHeld: boolean;
}

const HELLO: Shape<Hello> = {
  protocol: U32,
  features: U32,
  software: optional(shortText(SOFTWARE_BYTES_MAX)),
};
const takeHello = clientMapTaker("HELLO", HELLO);

/**
 * Decodes HELLO. Of a version that is not ours only `protocol` is looked at, since the rest may
 * have another shape there; the result then has `features` 0, and the broker answers
 * PROTOCOL_VERSION.
 * @throws {ProtocolError} PROTOCOL_CONTROL_BODY
 */
export function decodeHello(bytes: Uint8Array, start: number, end: number): Hello {
  const map = decodeClientMap("HELLO", bytes, start, end);
  const protocol = map["protocol"];
  if (protocol !== undefined && U32.accepts(protocol) && protocol !== PROTOCOL_VERSION) {
    return { protocol, features: 0 };
  }
  return takeHello(map, start);
}

/** Makes the body of HELLO. */
export const helloBody: BodyMapper<Hello> = bodyMapper("HELLO", HELLO);

/** Decodes the body of WELCOME, and makes it. */
export const [decodeWelcome, welcomeBody] = brokerBody<Welcome>("WELCOME", {
  protocol: U32,
  features: U32,
  connection: U32,
  uid: U32,
  gid: U32,
  pid: U32,
  software: TEXT,
});

/** Decodes the body of OPEN_TOPIC, and makes it. */
export const [decodeOpenTopic, openTopicBody] = clientBody<OpenTopic>("OPEN_TOPIC", {
  topic: TEXT,
});

/** Decodes the body of the ACK of OPEN_TOPIC, and makes it. */
export const [decodeOpenTopicAck, openTopicAckBody] = brokerBody<OpenTopicAck>(
  "ACK of OPEN_TOPIC",
  { topic: U32, sendFds: FLAG },
);

/** Decodes the body of SUBSCRIBE, and makes it. */
export const [decodeSubscribe, subscribeBody] = clientBody<Subscribe>("SUBSCRIBE", {
  pattern: TEXT,
  group: optional(TEXT),
  overflow: optional(oneOf(OVERFLOW_POLICIES)),
});

/** Decodes the body of the ACK of SUBSCRIBE, and makes it. */
export const [decodeSubscribeAck, subscribeAckBody] = brokerBody<SubscribeAck>("ACK of SUBSCRIBE", {
  subscription: U32,
});

/** Decodes the body of UNSUBSCRIBE, and makes it. */
export const [decodeUnsubscribe, unsubscribeBody] = clientBody<Unsubscribe>("UNSUBSCRIBE", {
  subscription: U32,
});

/** Decodes the body of the ACK of SYNC, and makes it. */
export const [decodeSyncAck, syncAckBody] = brokerBody<SyncAck>("ACK of SYNC", {
  published: COUNT,
  matched: COUNT,
  delivered: COUNT,
  dropped: COUNT,
  denied: COUNT,
  queued: COUNT,
  lostLater: COUNT,
  superseded: COUNT,
  fdsWaiting: COUNT,
  fdsExpired: COUNT,
});

/** Decodes the body of ERROR, and makes it. */
export const [decodeErrorBody, errorBody] = brokerBody<ErrorBody>("ERROR", {
  status: U32,
  message: TEXT,
  topic: optional(TEXT),
  rule: optional(TEXT),
  offset: optional(U32),
  protocol: optional(U32),
  limit: optional(COUNT),
  actual: optional(COUNT),
});

/** Decodes the body of TOPIC, and makes it. */
export const [decodeTopicBody, topicBody] = brokerBody<TopicBody>("TOPIC", {
  topic: TEXT,
  group: optional(TEXT),
});

/** Decodes the body of SENDER, and makes it. */
export const [decodeSenderBody, senderBody] = brokerBody<SenderBody>("SENDER", {
  uid: U32,
  gid: U32,
  pid: U32,
  groups: u32List(SENDER_GROUPS_MAX),
  unit: optional(TEXT),
  exe: optional(TEXT),
});

/** Decodes the body of GAP, and makes it. */
export const [decodeGapBody, gapBody] = brokerBody<GapBody>("GAP", { count: COUNT, reason: U32 });

/** Decodes the body of GOODBYE, and makes it. */
export const [decodeGoodbyeBody, goodbyeBody] = brokerBody<GoodbyeBody>("GOODBYE", {
  status: U32,
  message: TEXT,
});

/** Decodes the body of REVOKED, and makes it. */
export const [decodeRevokedBody, revokedBody] = brokerBody<RevokedBody>("REVOKED", {
  message: TEXT,
  action: TEXT,
  topic: TEXT,
  rule: optional(TEXT),
  subscription: optional(U32),
});

/** Decodes the body of HELD, and makes it. */
export const [decodeHeldBody, heldBody] = brokerBody<HeldBody>("HELD", {
  topic: TEXT,
  heldMs: COUNT,
  isHeld: FLAG,
});
