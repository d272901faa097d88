/** Sends prebuilt packets as fast as the window allows, then the end. */

import { CreditWindow } from "../credit.ts";
import { buildEnd, buildRing, messagesPerPacket } from "../message-ring.ts";
import { RawSession } from "../raw-session.ts";
import { SampleFds } from "../sample-fds.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { publisherTopics } from "./topic-names.ts";

const order = readWorkOrder();
const { path, relay, messageBytes, packetBytes, fds, source } = order;
const session = new RawSession(path, relay, {
  publish: publisherTopics(order),
  subscribe: undefined,
});
const ring = buildRing(session.topicIds, messageBytes, packetBytes, { fds, source });
const perPacket = messagesPerPacket(messageBytes, packetBytes);
const window = new CreditWindow(order);
using samples = new SampleFds(fds);

const endsAt = performance.now() + order.durationMs;
let messages = 0;
for (let at = 0; performance.now() < endsAt && messages < order.messagesMax; at += 1) {
  const packet = ring[at % ring.length];
  if (packet === undefined) break;
  window.awaitRoom(messages + perPacket);
  session.send(packet.buffer, packet.bytes, samples.of(at % ring.length));
  messages += perPacket;
}
const end = buildEnd(session.topicIds[0] ?? 0, messages, source);
session.send(end.buffer, end.bytes);
report({ type: "published", messages });
session.close();
