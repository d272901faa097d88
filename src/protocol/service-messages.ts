/**
 * The bodies of the control frames about services, channels and last values (docs/protocol.md
 * section 4), as types, with a decoder and the way back for each; like control-messages.ts, which has
 * those of connections, topics and subscriptions.
 */

import {
  brokerBody,
  COUNT,
  clientBody,
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

const SERVICE_NUMBER: Shape<ServiceNumber> = { service: U32 };
const OWNERS = u32List(SERVICE_OWNERS_TOLD_MAX);
const CREDIT: Shape<Credit> = { count: U32 };

/** Decodes the body of OPEN_SERVICE, and makes it. */
export const [decodeOpenService, openServiceBody] = clientBody<OpenService>("OPEN_SERVICE", {
  service: TEXT,
});

/** Decodes the body of ACK of OPEN_SERVICE, and makes it. */
export const [decodeOpenServiceAck, openServiceAckBody] = brokerBody<OpenServiceAck>(
  "ACK of OPEN_SERVICE",
  { service: U32, sendFds: FLAG },
);

/** Decodes the body of SERVE, and makes it. */
export const [decodeServe, serveBody] = clientBody<Serve>("SERVE", {
  service: TEXT,
  shared: optional(FLAG),
  ifOwned: optional(oneOf(IF_OWNED_CHOICES)),
  channels: optional(FLAG),
});

/** Decodes the body of ACK of SERVE, and makes it. */
export const [decodeServeAck, serveAckBody] = brokerBody<ServeAck>("ACK of SERVE", {
  service: U32,
  generation: COUNT,
  isOwner: FLAG,
});

/** Decodes the body of UNSERVE, and makes it. */
export const [decodeUnserve, unserveBody] = clientBody<ServiceNumber>("UNSERVE", SERVICE_NUMBER);

/** Decodes the body of WATCH, and makes it. */
export const [decodeWatch, watchBody] = clientBody<Watch>("WATCH", { service: TEXT });

/** Decodes the body of ACK of WATCH, and makes it. */
export const [decodeWatchAck, watchAckBody] = brokerBody<WatchAck>("ACK of WATCH", {
  service: U32,
  generation: COUNT,
  owners: OWNERS,
  count: COUNT,
});

/** Decodes the body of UNWATCH, and makes it. */
export const [decodeUnwatch, unwatchBody] = clientBody<ServiceNumber>("UNWATCH", SERVICE_NUMBER);

/** Decodes the body of CREDIT, and makes it. */
export const [decodeCreditToBroker, creditToBrokerBody] = clientBody<Credit>("CREDIT", CREDIT);

/** Decodes the body of CREDIT, and makes it. */
export const [decodeCreditToClient, creditToClientBody] = brokerBody<Credit>("CREDIT", CREDIT);

/** Decodes the body of CLEAR_RETAINED, and makes it. */
export const [decodeClearRetained, clearRetainedBody] = clientBody<ClearRetained>(
  "CLEAR_RETAINED",
  { topic: TEXT },
);

/** Decodes the body of ACK of CLEAR_RETAINED, and makes it. */
export const [decodeClearRetainedAck, clearRetainedAckBody] = brokerBody<ClearRetainedAck>(
  "ACK of CLEAR_RETAINED",
  { cleared: FLAG },
);

/** Decodes the body of OPEN_CHANNEL, and makes it. */
export const [decodeOpenChannel, openChannelBody] = clientBody<OpenChannel>("OPEN_CHANNEL", {
  service: TEXT,
});

/** Decodes the body of SERVICE, and makes it. */
export const [decodeServiceBody, serviceBody] = brokerBody<ServiceBody>("SERVICE", {
  generation: COUNT,
  owners: OWNERS,
  count: COUNT,
});

/** Decodes the body of OWNERSHIP, and makes it. */
export const [decodeOwnershipBody, ownershipBody] = brokerBody<OwnershipBody>("OWNERSHIP", {
  generation: COUNT,
  isOwner: FLAG,
});

/** Decodes the body of CHANNEL, and makes it. */
export const [decodeChannelBody, channelBody] = brokerBody<ChannelBody>("CHANNEL", {
  service: TEXT,
  peer: U32,
});
