/** Measures round trips, blocking, one message under way. */

import { RoundTrips } from "../latency.ts";
import { buildRing } from "../message-ring.ts";
import { RawSession } from "../raw-session.ts";
import { RoundNumber } from "../round-number.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { BODY_WORD, bodyBytesOf, receiveMessage } from "./raw-message.ts";
import { PING_TOPIC, PONG_TOPIC } from "./topic-names.ts";

const order = readWorkOrder();
const session = new RawSession(order.path, order.relay, {
  publish: [PING_TOPIC],
  subscribe: PONG_TOPIC,
});
const [ping] = buildRing(session.topicIds, order.messageBytes, 1);
if (ping === undefined) throw new Error("No packet was built");
const { words } = session.buffer;
const round = new RoundNumber(order.messageBytes);
const trips = new RoundTrips(order);
do {
  ping.buffer.words[BODY_WORD] = round.current;
  trips.begin();
  session.send(ping.buffer, ping.bytes);
  const frame = receiveMessage(session);
  round.take(words[frame + BODY_WORD] as number, bodyBytesOf(session, frame));
} while (trips.end());
report(trips.report());
session.close();
