/**
 * The bodies of the control frames about services, channels and last values (docs/protocol.md
 * section 4), as types, with a decoder and the way back for each; like control-messages.ts, which has
 * those of connections, topics and subscriptions.
 */

import {
  type BodyDecoder,
  type BodyMapper,
  bodyMapper,
  brokerBodyDecoder,
  COUNT,
  clientBodyDecoder,
  FLAG,
  oneOf,
  optional,
  type Shape,
  TEXT,
  U32,
  u32List,
} from "./control-shape.ts";
import { SERVICE_OWNERS_TOLD_MAX } from "./limits.ts";
import { IF_OWNED_CHOICES, type IfOwned } from "./words.ts";

/** OPEN_SERVICE, to the broker. */
export interface OpenService {
  /** Not yet checked as a topic name. */
  readonly service: string;
}

/** ACK of OPEN_SERVICE, to the client. */
export interface OpenServiceAck {
  /** The service id. */
  readonly service: number;
  /** Whether requests may carry fds. */
  readonly sendFds: boolean;
}

/** SERVE, to the broker. */
export interface Serve {
  /** Not yet checked as a topic name. */
  readonly service: string;
  /** Share the service with others that do, each request going to one of them. Default false. */
  readonly shared?: boolean | undefined;
  /** Default "fail". */
  readonly ifOwned?: IfOwned | undefined;
  /** Take private channels. Default false. */
  readonly channels?: boolean | undefined;
}

/** ACK of SERVE, to the client. */
export interface ServeAck {
  /** The service id. */
  readonly service: number;
  /** Of the service; grows whenever who serves it changes. */
  readonly generation: number;
  /** False where others come first. */
  readonly isOwner: boolean;
}

/** UNSERVE and UNWATCH, to the broker. */
export interface ServiceNumber {
  /** The service id. */
  readonly service: number;
}

/** WATCH, to the broker. */
export interface Watch {
  /** Not yet checked as a topic name. */
  readonly service: string;
}

/** ACK of WATCH, to the client. */
export interface WatchAck {
  /** The service id. */
  readonly service: number;
  readonly generation: number;
  /** Connection ids of those that serve it, the first SERVICE_OWNERS_TOLD_MAX of them. */
  readonly owners: number[];
  /** How many serve it. */
  readonly count: number;
}

/** SERVICE, to the client: who serves it has changed. */
export interface ServiceBody {
  readonly generation: number;
  /** As in WatchAck. */
  readonly owners: number[];
  readonly count: number;
}

/** OWNERSHIP, to the client. */
export interface OwnershipBody {
  readonly generation: number;
  /** False: somebody took the service over, and this client does not serve it any more. */
  readonly isOwner: boolean;
}

/** CREDIT, both ways. */
export interface Credit {
  /** Parts that may be sent in addition. */
  readonly count: number;
}

/** CLEAR_RETAINED, to the broker. */
export interface ClearRetained {
  /** Not yet checked as a topic name. */
  readonly topic: string;
}

/** ACK of CLEAR_RETAINED, to the client. */
export interface ClearRetainedAck {
  /** Whether there was a last value. */
  readonly cleared: boolean;
}

/** OPEN_CHANNEL, to the broker. */
export interface OpenChannel {
  /** Not yet checked as a topic name. */
  readonly service: string;
}

/** CHANNEL, to the client. */
export interface ChannelBody {
  readonly service: string;
  /** Connection id of the other side. */
  readonly peer: number;
}

const OPEN_SERVICE: Shape<OpenService> = { service: TEXT };
const OPEN_SERVICE_ACK: Shape<OpenServiceAck> = { service: U32, sendFds: FLAG };
const SERVE: Shape<Serve> = {
  service: TEXT,
  shared: optional(FLAG),
  ifOwned: optional(oneOf(IF_OWNED_CHOICES)),
  channels: optional(FLAG),
};
const SERVE_ACK: Shape<ServeAck> = { service: U32, generation: COUNT, isOwner: FLAG };
const SERVICE_NUMBER: Shape<ServiceNumber> = { service: U32 };
const WATCH: Shape<Watch> = { service: TEXT };
const OWNERS = u32List(SERVICE_OWNERS_TOLD_MAX);
const WATCH_ACK: Shape<WatchAck> = {
  service: U32,
  generation: COUNT,
  owners: OWNERS,
  count: COUNT,
};
const SERVICE: Shape<ServiceBody> = { generation: COUNT, owners: OWNERS, count: COUNT };
const OWNERSHIP: Shape<OwnershipBody> = { generation: COUNT, isOwner: FLAG };
const CREDIT: Shape<Credit> = { count: U32 };
const CLEAR_RETAINED: Shape<ClearRetained> = { topic: TEXT };
const CLEAR_RETAINED_ACK: Shape<ClearRetainedAck> = { cleared: FLAG };
const OPEN_CHANNEL: Shape<OpenChannel> = { service: TEXT };
const CHANNEL: Shape<ChannelBody> = { service: TEXT, peer: U32 };

/** Decodes the body of OPEN_SERVICE, and makes it. */
export const decodeOpenService: BodyDecoder<OpenService> = clientBodyDecoder(
  "OPEN_SERVICE",
  OPEN_SERVICE,
);
export const openServiceBody: BodyMapper<OpenService> = bodyMapper("OPEN_SERVICE", OPEN_SERVICE);

/** Decodes the body of ACK of OPEN_SERVICE, and makes it. */
export const decodeOpenServiceAck: BodyDecoder<OpenServiceAck> = brokerBodyDecoder(
  "ACK of OPEN_SERVICE",
  OPEN_SERVICE_ACK,
);
export const openServiceAckBody: BodyMapper<OpenServiceAck> = bodyMapper(
  "ACK of OPEN_SERVICE",
  OPEN_SERVICE_ACK,
);

/** Decodes the body of SERVE, and makes it. */
export const decodeServe: BodyDecoder<Serve> = clientBodyDecoder("SERVE", SERVE);
export const serveBody: BodyMapper<Serve> = bodyMapper("SERVE", SERVE);

/** Decodes the body of ACK of SERVE, and makes it. */
export const decodeServeAck: BodyDecoder<ServeAck> = brokerBodyDecoder("ACK of SERVE", SERVE_ACK);
export const serveAckBody: BodyMapper<ServeAck> = bodyMapper("ACK of SERVE", SERVE_ACK);

/** Decodes the body of UNSERVE, and makes it. */
export const decodeUnserve: BodyDecoder<ServiceNumber> = clientBodyDecoder(
  "UNSERVE",
  SERVICE_NUMBER,
);
export const unserveBody: BodyMapper<ServiceNumber> = bodyMapper("UNSERVE", SERVICE_NUMBER);

/** Decodes the body of WATCH, and makes it. */
export const decodeWatch: BodyDecoder<Watch> = clientBodyDecoder("WATCH", WATCH);
export const watchBody: BodyMapper<Watch> = bodyMapper("WATCH", WATCH);

/** Decodes the body of ACK of WATCH, and makes it. */
export const decodeWatchAck: BodyDecoder<WatchAck> = brokerBodyDecoder("ACK of WATCH", WATCH_ACK);
export const watchAckBody: BodyMapper<WatchAck> = bodyMapper("ACK of WATCH", WATCH_ACK);

/** Decodes the body of UNWATCH, and makes it. */
export const decodeUnwatch: BodyDecoder<ServiceNumber> = clientBodyDecoder(
  "UNWATCH",
  SERVICE_NUMBER,
);
export const unwatchBody: BodyMapper<ServiceNumber> = bodyMapper("UNWATCH", SERVICE_NUMBER);

/** Decodes the body of CREDIT, and makes it. */
export const decodeCreditToBroker: BodyDecoder<Credit> = clientBodyDecoder("CREDIT", CREDIT);
export const creditToBrokerBody: BodyMapper<Credit> = bodyMapper("CREDIT", CREDIT);

/** Decodes the body of CREDIT, and makes it. */
export const decodeCreditToClient: BodyDecoder<Credit> = brokerBodyDecoder("CREDIT", CREDIT);
export const creditToClientBody: BodyMapper<Credit> = bodyMapper("CREDIT", CREDIT);

/** Decodes the body of CLEAR_RETAINED, and makes it. */
export const decodeClearRetained: BodyDecoder<ClearRetained> = clientBodyDecoder(
  "CLEAR_RETAINED",
  CLEAR_RETAINED,
);
export const clearRetainedBody: BodyMapper<ClearRetained> = bodyMapper(
  "CLEAR_RETAINED",
  CLEAR_RETAINED,
);

/** Decodes the body of ACK of CLEAR_RETAINED, and makes it. */
export const decodeClearRetainedAck: BodyDecoder<ClearRetainedAck> = brokerBodyDecoder(
  "ACK of CLEAR_RETAINED",
  CLEAR_RETAINED_ACK,
);
export const clearRetainedAckBody: BodyMapper<ClearRetainedAck> = bodyMapper(
  "ACK of CLEAR_RETAINED",
  CLEAR_RETAINED_ACK,
);

/** Decodes the body of OPEN_CHANNEL, and makes it. */
export const decodeOpenChannel: BodyDecoder<OpenChannel> = clientBodyDecoder(
  "OPEN_CHANNEL",
  OPEN_CHANNEL,
);
export const openChannelBody: BodyMapper<OpenChannel> = bodyMapper("OPEN_CHANNEL", OPEN_CHANNEL);

/** Decodes the body of SERVICE, and makes it. */
export const decodeServiceBody: BodyDecoder<ServiceBody> = brokerBodyDecoder("SERVICE", SERVICE);
export const serviceBody: BodyMapper<ServiceBody> = bodyMapper("SERVICE", SERVICE);

/** Decodes the body of OWNERSHIP, and makes it. */
export const decodeOwnershipBody: BodyDecoder<OwnershipBody> = brokerBodyDecoder(
  "OWNERSHIP",
  OWNERSHIP,
);
export const ownershipBody: BodyMapper<OwnershipBody> = bodyMapper("OWNERSHIP", OWNERSHIP);

/** Decodes the body of CHANNEL, and makes it. */
export const decodeChannelBody: BodyDecoder<ChannelBody> = brokerBodyDecoder("CHANNEL", CHANNEL);
export const channelBody: BodyMapper<ChannelBody> = bodyMapper("CHANNEL", CHANNEL);
