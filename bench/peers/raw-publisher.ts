/** Sends prebuilt messages of a peer's protocol, many at a time, as fast as the window allows. */

import { sendRing } from "../publishing.ts";
import { publisherTopics } from "../roles/topic-names.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { dialectOf, openPeer } from "./dialects.ts";
import { buildPeerEnd, buildPeerRing } from "./peer-ring.ts";
import { PeerStream } from "./peer-stream.ts";

const order = readWorkOrder();
const { path, relay, messageBytes, packetBytes, fds, source } = order;
const dialect = dialectOf(relay);
const stream = new PeerStream(openPeer(dialect, path, false));
dialect.enter(stream, { subscribe: [], fds });
const topics = publisherTopics(order);
const ring = buildPeerRing(dialect, topics, { messageBytes, packetBytes, fds, source });
const messages = sendRing(order, ring, (packet, packetFds) =>
  stream.send(packet.buffer, packet.bytes, packetFds),
);
const end = buildPeerEnd(dialect, topics[0] ?? "", messages, source);
stream.send(end.buffer, end.bytes);
report({ type: "published", messages });
stream.finish();
