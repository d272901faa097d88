/** Measures round trips in a peer's protocol, blocking, one message under way. */

import { RoundTrips } from "../latency.ts";
import { PING_TOPIC, PONG_TOPIC } from "../roles/topic-names.ts";
import { RoundNumber } from "../round-number.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { RawTurns } from "./raw-turns.ts";

const order = readWorkOrder();
const turns = new RawTurns(order, { sends: PING_TOPIC, receives: PONG_TOPIC });
const round = new RoundNumber(order.messageBytes);
const trips = new RoundTrips(order);
do {
  trips.begin();
  turns.send(round.current);
  round.take(turns.receive(), order.messageBytes);
} while (trips.end());
report(trips.report());
turns.close();
