/** Measures calls through the client library, one under way. */

import { connect } from "../../src/client/index.ts";
import { RoundTrips } from "../latency.ts";
import { RoundNumber, writeRoundNumber } from "../round-number.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { PING_TOPIC } from "./topic-names.ts";

const order = readWorkOrder();
const body = new Uint8Array(order.messageBytes);
const bus = await connect({ path: order.path });
const round = new RoundNumber(order.messageBytes);
const trips = new RoundTrips(order);
for (;;) {
  writeRoundNumber(body, round.current);
  trips.begin();
  const reply = await bus.call(PING_TOPIC, body);
  round.takeBody(reply.bytes);
  if (!trips.end()) break;
}
report(trips.report());
await bus.close();
