/** Sends prebuilt packets as fast as the window allows, then the end. */

import { buildEnd, buildRing } from "../message-ring.ts";
import { sendRing } from "../publishing.ts";
import { RawSession } from "../raw-session.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { publisherTopics } from "./topic-names.ts";

const order = readWorkOrder();
const { path, relay, messageBytes, packetBytes, fds, source } = order;
const session = new RawSession(path, relay, {
  publish: publisherTopics(order),
  subscribe: undefined,
});
const ring = buildRing(session.topicIds, messageBytes, packetBytes, { fds, source });
const messages = sendRing(order, ring, (packet, packetFds) =>
  session.send(packet.buffer, packet.bytes, packetFds),
);
const end = buildEnd(session.topicIds[0] ?? 0, messages, source);
session.send(end.buffer, end.bytes);
report({ type: "published", messages });
session.close();
