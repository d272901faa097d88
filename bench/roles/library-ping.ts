/** Measures round trips through the client library, one message under way. */

import { connect } from "../../src/client/index.ts";
import { RoundTrips } from "../latency.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { PING_TOPIC, PONG_TOPIC } from "./topic-names.ts";

const order = readWorkOrder();
const body = new Uint8Array(order.messageBytes);
const bus = await connect({ path: order.path });
const trips = new RoundTrips(order);
const { promise, resolve, reject } = Promise.withResolvers<void>();
await bus.subscribe(PONG_TOPIC, {
  onMessage(message) {
    if (message.byteLength !== order.messageBytes) return reject(new Error("Got a wrong length"));
    if (!trips.end()) return resolve();
    trips.begin();
    bus.publish(PING_TOPIC, body);
  },
});
trips.begin();
bus.publish(PING_TOPIC, body);
await promise;
report(trips.report());
await bus.close();
