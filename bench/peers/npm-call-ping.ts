/** Measures calls through a peer's npm client, one under way. */

import { RoundTrips } from "../latency.ts";
import { PING_TOPIC } from "../roles/topic-names.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { connectNpmCaller } from "./npm-client.ts";

const order = readWorkOrder();
const body = Buffer.alloc(order.messageBytes);
const client = await connectNpmCaller(order.relay, order.path);
const trips = new RoundTrips(order);
do {
  trips.begin();
  const { byteLength } = await client.call(PING_TOPIC, body);
  if (byteLength !== order.messageBytes) throw new Error("Got a wrong length");
} while (trips.end());
report(trips.report());
process.exit(0);
