/** Measures round trips through a peer's npm client, one message under way. */

import { RoundTrips } from "../latency.ts";
import { PING_TOPIC, PONG_TOPIC } from "../roles/topic-names.ts";
import { RoundNumber, writeRoundNumber } from "../round-number.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { connectNpmClient } from "./npm-client.ts";

const order = readWorkOrder();
// Clients may keep what they are given until it is sent: that is long over when its answer is here.
const body = Buffer.alloc(order.messageBytes);
const receiving = await connectNpmClient(order.relay, order.path);
const sending = await connectNpmClient(order.relay, order.path);
const { promise, resolve, reject } = Promise.withResolvers<void>();
const round = new RoundNumber(order.messageBytes);
const trips = new RoundTrips(order);

function ping(): void {
  writeRoundNumber(body, round.current);
  trips.begin();
  sending.publish(PING_TOPIC, body);
}

await receiving.subscribe([PONG_TOPIC], (answer) => {
  try {
    round.takeBody(answer);
  } catch (error) {
    return reject(error);
  }
  if (trips.end()) ping();
  else resolve();
});
ping();
await promise;
report(trips.report());
process.exit(0);
