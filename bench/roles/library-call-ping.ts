/** Measures calls through the client library, one under way. */

import { connect } from "../../src/client/index.ts";
import { RoundTrips } from "../latency.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { PING_TOPIC } from "./topic-names.ts";

const order = readWorkOrder();
const body = new Uint8Array(order.messageBytes);
const bus = await connect({ path: order.path });
const trips = new RoundTrips(order);
for (;;) {
  trips.begin();
  const { byteLength } = await bus.call(PING_TOPIC, body);
  if (byteLength !== order.messageBytes) throw new Error("Got a wrong length");
  if (!trips.end()) break;
}
report(trips.report());
await bus.close();
