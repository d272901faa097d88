/**
 * The bodies of the control frames about the broker itself (docs/protocol.md section 4): its policy, what
 * it would decide, and what it knows. As types, with a decoder and the way back for each; like
 * control-messages.ts, which has those of connections, topics and subscriptions.
 */

import {
  brokerBody,
  COUNT,
  clientBody,
  oneOf,
  optional,
  TEXT,
  U32,
  u32List,
} from "./control-shape.ts";
import { SENDER_GROUPS_MAX } from "./limits.ts";
import { QUERY_SUBJECTS, type QuerySubject } from "./words.ts";

/** ACK of RELOAD_POLICY, to the client. */
export interface ReloadPolicyAck {
  /** Rules of the policy that is in force now. */
  readonly rules: number;
}

/** EXPLAIN, to the broker. Without `uid` it is about the client itself. */
export interface Explain {
  /** A right as the policy file calls it; not yet checked. */
  readonly action: string;
  /** Not yet checked as a topic name, or as a pattern for "subscribe". */
  readonly topic: string;
  /** Somebody else's uid, for administrators; the other fields go with it. */
  readonly uid?: number | undefined;
  /** Default: none, that is 2^32 - 1. */
  readonly gid?: number | undefined;
  /** Supplementary groups. */
  readonly groups?: number[] | undefined;
  readonly unit?: string | undefined;
  readonly exe?: string | undefined;
  readonly label?: string | undefined;
}

/** ACK of EXPLAIN, to the client. */
export interface ExplainAck {
  /** JSON, as `seqbus policy explain --json` prints it. */
  readonly explanation: string;
}

/** QUERY, to the broker. */
export interface Query {
  readonly what: QuerySubject;
  /** Narrows the question: a pattern for topics and services, a connection id for "client". */
  readonly about?: string | undefined;
  /** Go on behind this entry: `next` of the answer before. */
  readonly after?: string | undefined;
}

/** ACK of QUERY, to the client. */
export interface QueryAck {
  /** JSON. */
  readonly answer: string;
  /** There is more: ask again with this as `after`. */
  readonly next?: string | undefined;
}

/** Decodes the body of the ACK of RELOAD_POLICY, and makes it. */
export const [decodeReloadPolicyAck, reloadPolicyAckBody] = brokerBody<ReloadPolicyAck>(
  "ACK of RELOAD_POLICY",
  { rules: COUNT },
);

/** Decodes the body of EXPLAIN, and makes it. */
export const [decodeExplain, explainBody] = clientBody<Explain>("EXPLAIN", {
  action: TEXT,
  topic: TEXT,
  uid: optional(U32),
  gid: optional(U32),
  groups: optional(u32List(SENDER_GROUPS_MAX)),
  unit: optional(TEXT),
  exe: optional(TEXT),
  label: optional(TEXT),
});

/** Decodes the body of the ACK of EXPLAIN, and makes it. */
export const [decodeExplainAck, explainAckBody] = brokerBody<ExplainAck>("ACK of EXPLAIN", {
  explanation: TEXT,
});

/** Decodes the body of QUERY, and makes it. */
export const [decodeQuery, queryBody] = clientBody<Query>("QUERY", {
  what: oneOf(QUERY_SUBJECTS),
  about: optional(TEXT),
  after: optional(TEXT),
});

/** Decodes the body of ACK of QUERY, and makes it. */
export const [decodeQueryAck, queryAckBody] = brokerBody<QueryAck>("ACK of QUERY", {
  answer: TEXT,
  next: optional(TEXT),
});
