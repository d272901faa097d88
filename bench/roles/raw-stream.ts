/**
 * Sends prebuilt packets, at a pace or as fast as the window allows, until the harness closes its
 * end of the stop socket, which is inherited after the credit sockets; then the end.
 */

import { waitReadable } from "../../src/ffi/blocking-poll.ts";
import { CreditWindow } from "../credit.ts";
import { buildEnd, buildRing, messagesPerPacket } from "../message-ring.ts";
import { RawSession } from "../raw-session.ts";
import { CREDIT_FD_FIRST, readWorkOrder, report } from "../work-order.ts";
import { benchTopics } from "./topic-names.ts";

const order = readWorkOrder();
const { path, relay, messageBytes, packetBytes, subscribers, paceMs } = order;
const stopFd = CREDIT_FD_FIRST + subscribers;
const session = new RawSession(path, relay, { publish: benchTopics(1), subscribe: undefined });
const ring = buildRing(session.topicIds, messageBytes, packetBytes);
const perPacket = messagesPerPacket(messageBytes, packetBytes);
const window = new CreditWindow(order);

let messages = 0;
for (let at = 0; !waitReadable(stopFd, paceMs); at += 1) {
  const packet = ring[at % ring.length];
  if (packet === undefined) break;
  window.awaitRoom(messages + perPacket);
  session.send(packet.buffer, packet.bytes);
  messages += perPacket;
}
const end = buildEnd(session.topicIds[0] ?? 0, messages);
session.send(end.buffer, end.bytes);
report({ type: "published", messages });
session.close();
