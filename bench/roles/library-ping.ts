/** Measures round trips through the client library, one message under way. */

import { connect } from "../../src/client/index.ts";
import { RoundTrips } from "../latency.ts";
import { RoundNumber, writeRoundNumber } from "../round-number.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { PING_TOPIC, PONG_TOPIC } from "./topic-names.ts";

const order = readWorkOrder();
const body = new Uint8Array(order.messageBytes);
const bus = await connect({ path: order.path });
const round = new RoundNumber(order.messageBytes);
const trips = new RoundTrips(order);
const { promise, resolve, reject } = Promise.withResolvers<void>();

function ping(): void {
  writeRoundNumber(body, round.current);
  trips.begin();
  bus.publish(PING_TOPIC, body);
}

await bus.subscribe(PONG_TOPIC, {
  onMessage(message) {
    try {
      round.takeBody(message.bytes);
    } catch (error) {
      return reject(error);
    }
    if (trips.end()) ping();
    else resolve();
  },
});
ping();
await promise;
report(trips.report());
await bus.close();
