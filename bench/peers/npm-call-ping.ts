/** Measures calls through a peer's npm client, one under way. */

import { RoundTrips } from "../latency.ts";
import { PING_TOPIC } from "../roles/topic-names.ts";
import { RoundNumber, writeRoundNumber } from "../round-number.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { connectNpmCaller } from "./npm-client.ts";

const order = readWorkOrder();
const body = Buffer.alloc(order.messageBytes);
const client = await connectNpmCaller(order.relay, order.path);
const round = new RoundNumber(order.messageBytes);
const trips = new RoundTrips(order);
do {
  writeRoundNumber(body, round.current);
  trips.begin();
  round.takeBody(await client.call(PING_TOPIC, body));
} while (trips.end());
report(trips.report());
process.exit(0);
