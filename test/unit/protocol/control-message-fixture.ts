/** Every body of a control frame: its decoder, the way back, and an example with all keys. */

import * as administration from "../../../src/protocol/administration-messages.ts";
import type { ControlMap } from "../../../src/protocol/control-body.ts";
import * as messages from "../../../src/protocol/control-messages.ts";
import type { BodyDecoder, BodyMapper } from "../../../src/protocol/control-shape.ts";
import * as services from "../../../src/protocol/service-messages.ts";

/** One kind of body. */
export interface BodyFixture {
  /** As docs/protocol.md heads it: `### NAME`, or `→ ACK` behind the name of the request. */
  readonly name: string;
  readonly from: "client" | "broker";
  /** An example with every key, also the optional ones. */
  readonly example: ControlMap;
  readonly optionalKeys: readonly string[];
  readonly decode: (bytes: Uint8Array, start: number, end: number) => object;
  /** decode() and the way back, for an example that is known to be right. */
  readonly toMap: (body: object) => ControlMap;
}

function bodyFixture<Body extends object>(
  name: string,
  from: "client" | "broker",
  codec: readonly [BodyDecoder<Body>, BodyMapper<Body>],
  example: Required<Body> & ControlMap,
  ...optionalKeys: readonly (keyof Body & string)[]
): BodyFixture {
  const toMap = (body: object) => codec[1](body as Body);
  return { name, from, example, optionalKeys, decode: codec[0], toMap };
}

/** In the order of docs/protocol.md. */
export const BODY_FIXTURES: readonly BodyFixture[] = [
  bodyFixture(
    "HELLO",
    "client",
    [messages.decodeHello, messages.helloBody],
    { protocol: 1, features: 1, software: "probe" },
    "software",
  ),
  bodyFixture("WELCOME", "broker", [messages.decodeWelcome, messages.welcomeBody], {
    protocol: 1,
    features: 0,
    connection: 3,
    uid: 1000,
    gid: 1000,
    pid: 77,
    software: "seqbus",
  }),
  bodyFixture("OPEN_TOPIC", "client", [messages.decodeOpenTopic, messages.openTopicBody], {
    topic: "a.b",
  }),
  bodyFixture(
    "OPEN_TOPIC → ACK",
    "broker",
    [messages.decodeOpenTopicAck, messages.openTopicAckBody],
    { topic: 7, sendFds: false },
  ),
  bodyFixture(
    "SUBSCRIBE",
    "client",
    [messages.decodeSubscribe, messages.subscribeBody],
    { pattern: "a.>", group: "workers", overflow: "drop-oldest" },
    "group",
    "overflow",
  ),
  bodyFixture(
    "SUBSCRIBE → ACK",
    "broker",
    [messages.decodeSubscribeAck, messages.subscribeAckBody],
    {
      subscription: 1,
    },
  ),
  bodyFixture("UNSUBSCRIBE", "client", [messages.decodeUnsubscribe, messages.unsubscribeBody], {
    subscription: 1,
  }),
  bodyFixture("SYNC → ACK", "broker", [messages.decodeSyncAck, messages.syncAckBody], {
    published: 2 ** 40,
    matched: 3,
    delivered: 2,
    dropped: 1,
    denied: 0,
    queued: 1,
    lostLater: 2 ** 33,
    superseded: 6,
    fdsWaiting: 4,
    fdsExpired: 5,
  }),
  bodyFixture(
    "RELOAD_POLICY → ACK",
    "broker",
    [administration.decodeReloadPolicyAck, administration.reloadPolicyAckBody],
    { rules: 12 },
  ),
  bodyFixture(
    "EXPLAIN",
    "client",
    [administration.decodeExplain, administration.explainBody],
    {
      action: "publish",
      topic: "a.b",
      uid: 1000,
      gid: 1000,
      groups: [4],
      unit: "a.service",
      exe: "/usr/bin/a",
      label: "a",
    },
    "uid",
    "gid",
    "groups",
    "unit",
    "exe",
    "label",
  ),
  bodyFixture(
    "EXPLAIN → ACK",
    "broker",
    [administration.decodeExplainAck, administration.explainAckBody],
    {
      explanation: "{}",
    },
  ),
  bodyFixture(
    "ERROR",
    "broker",
    [messages.decodeErrorBody, messages.errorBody],
    {
      status: 65,
      message: "no",
      topic: "a.b",
      rule: "policy:3",
      offset: 16,
      protocol: 1,
      limit: 8,
      actual: 9,
    },
    "topic",
    "rule",
    "offset",
    "protocol",
    "limit",
    "actual",
  ),
  bodyFixture(
    "TOPIC",
    "broker",
    [messages.decodeTopicBody, messages.topicBody],
    { topic: "a.b", group: "workers" },
    "group",
  ),
  bodyFixture(
    "SENDER",
    "broker",
    [messages.decodeSenderBody, messages.senderBody],
    {
      uid: 1000,
      gid: 1000,
      pid: 77,
      groups: [4, 2 ** 32 - 1],
      unit: "sensord.service",
      exe: "/usr/bin/sensord",
    },
    "unit",
    "exe",
  ),
  bodyFixture("GAP", "broker", [messages.decodeGapBody, messages.gapBody], {
    count: 12,
    reason: 1,
  }),
  bodyFixture("GOODBYE", "broker", [messages.decodeGoodbyeBody, messages.goodbyeBody], {
    status: 96,
    message: "bye",
  }),
  bodyFixture(
    "REVOKED",
    "broker",
    [messages.decodeRevokedBody, messages.revokedBody],
    { message: "gone", action: "subscribe", topic: "a.*", rule: "r1", subscription: 3 },
    "rule",
    "subscription",
  ),
  bodyFixture("HELD", "broker", [messages.decodeHeldBody, messages.heldBody], {
    topic: "a.b",
    heldMs: 2 ** 40,
    isHeld: true,
  }),
  bodyFixture("OPEN_SERVICE", "client", [services.decodeOpenService, services.openServiceBody], {
    service: "a.b",
  }),
  bodyFixture(
    "OPEN_SERVICE → ACK",
    "broker",
    [services.decodeOpenServiceAck, services.openServiceAckBody],
    { service: 7, sendFds: true },
  ),
  bodyFixture(
    "SERVE",
    "client",
    [services.decodeServe, services.serveBody],
    { service: "a.b", shared: true, ifOwned: "queue", channels: true },
    "shared",
    "ifOwned",
    "channels",
  ),
  bodyFixture("SERVE → ACK", "broker", [services.decodeServeAck, services.serveAckBody], {
    service: 7,
    generation: 2 ** 40,
    isOwner: false,
  }),
  bodyFixture("UNSERVE", "client", [services.decodeUnserve, services.unserveBody], { service: 7 }),
  bodyFixture("WATCH", "client", [services.decodeWatch, services.watchBody], { service: "a.b" }),
  bodyFixture("WATCH → ACK", "broker", [services.decodeWatchAck, services.watchAckBody], {
    service: 7,
    generation: 3,
    owners: [258],
    count: 1,
  }),
  bodyFixture("UNWATCH", "client", [services.decodeUnwatch, services.unwatchBody], { service: 7 }),
  bodyFixture("CREDIT", "client", [services.decodeCreditToBroker, services.creditToBrokerBody], {
    count: 32,
  }),
  bodyFixture("CREDIT", "broker", [services.decodeCreditToClient, services.creditToClientBody], {
    count: 32,
  }),
  bodyFixture(
    "CLEAR_RETAINED",
    "client",
    [services.decodeClearRetained, services.clearRetainedBody],
    { topic: "a.b" },
  ),
  bodyFixture(
    "CLEAR_RETAINED → ACK",
    "broker",
    [services.decodeClearRetainedAck, services.clearRetainedAckBody],
    { cleared: true },
  ),
  bodyFixture("OPEN_CHANNEL", "client", [services.decodeOpenChannel, services.openChannelBody], {
    service: "a.b",
  }),
  bodyFixture(
    "QUERY",
    "client",
    [administration.decodeQuery, administration.queryBody],
    { what: "topics", about: "a.>", after: "a.b" },
    "about",
    "after",
  ),
  bodyFixture(
    "QUERY → ACK",
    "broker",
    [administration.decodeQueryAck, administration.queryAckBody],
    { answer: "[]", next: "a.c" },
    "next",
  ),
  bodyFixture("SERVICE", "broker", [services.decodeServiceBody, services.serviceBody], {
    generation: 4,
    owners: [258, 259],
    count: 2,
  }),
  bodyFixture("OWNERSHIP", "broker", [services.decodeOwnershipBody, services.ownershipBody], {
    generation: 4,
    isOwner: true,
  }),
  bodyFixture("CHANNEL", "broker", [services.decodeChannelBody, services.channelBody], {
    service: "a.b",
    peer: 258,
  }),
];
