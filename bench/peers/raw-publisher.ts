/** Sends prebuilt messages of a peer's protocol, many at a time, as fast as the window allows. */

import { CreditWindow } from "../credit.ts";
import { messagesPerPacket } from "../message-ring.ts";
import { publisherTopics } from "../roles/topic-names.ts";
import { SampleFds } from "../sample-fds.ts";
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
const perPacket = messagesPerPacket(messageBytes, packetBytes);
const window = new CreditWindow(order);
using samples = new SampleFds(fds);

const endsAt = performance.now() + order.durationMs;
let messages = 0;
for (let at = 0; performance.now() < endsAt && messages < order.messagesMax; at += 1) {
  const packet = ring[at % ring.length];
  if (packet === undefined) break;
  window.awaitRoom(messages + perPacket);
  stream.send(packet.buffer, packet.bytes, samples.of(at % ring.length));
  messages += perPacket;
}
const end = buildPeerEnd(dialect, topics[0] ?? "", messages, source);
stream.send(end.buffer, end.bytes);
report({ type: "published", messages });
stream.close();
