/** Measures round trips through a peer's npm client, one message under way. */

import { RoundTrips } from "../latency.ts";
import { PING_TOPIC, PONG_TOPIC } from "../roles/topic-names.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { connectNpmClient } from "./npm-client.ts";

const order = readWorkOrder();
const body = Buffer.alloc(order.messageBytes);
const receiving = await connectNpmClient(order.relay, order.path);
const sending = await connectNpmClient(order.relay, order.path);
const { promise, resolve, reject } = Promise.withResolvers<void>();
const trips = new RoundTrips(order);
await receiving.subscribe([PONG_TOPIC], (answer) => {
  if (answer.byteLength !== order.messageBytes) return reject(new Error("Got a wrong length"));
  if (!trips.end()) return resolve();
  trips.begin();
  sending.publish(PING_TOPIC, body);
});
trips.begin();
sending.publish(PING_TOPIC, body);
await promise;
report(trips.report());
process.exit(0);
