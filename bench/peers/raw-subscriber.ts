/** Walks what a peer delivers and checks each message. */

import { benchTopics } from "../roles/topic-names.ts";
import { SubscriberCheck } from "../subscriber-check.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { dialectOf, openPeer } from "./dialects.ts";
import { PeerWalk } from "./peer-ring.ts";
import { PeerStream } from "./peer-stream.ts";

/** What a protocol puts around a body, at most. */
const ENVELOPE_BYTES_MAX = 512;

/** Larger ones fill a socket before a rest is over. */
const PAUSED_MESSAGE_BYTES_MAX = 1_024;

const order = readWorkOrder();
const { path, relay, messageBytes, fds } = order;
const dialect = dialectOf(relay);
const stream = new PeerStream(openPeer(dialect, path, true), {
  messageBytesMax: messageBytes + ENVELOPE_BYTES_MAX,
  takesFds: fds > 0,
  pauseMs: messageBytes <= PAUSED_MESSAGE_BYTES_MAX ? dialect.pauseMs : 0,
});
dialect.enter(stream, { subscribe: benchTopics(order.topics), fds });
const subscriber = new SubscriberCheck(order);
const walk = new PeerWalk(stream, dialect, subscriber.check, order);
report({ type: "ready" });

while (!subscriber.check.isEnded) {
  stream.receive();
  walk.takeMessages();
  subscriber.acknowledge();
}
subscriber.finish();
stream.close();
