/**
 * Publish and subscribe. Start a broker first:
 *
 *     seqbus broker --socket /tmp/example.sock
 *     SEQBUS_SOCKET=/tmp/example.sock bun examples/sensors.ts
 *
 * A program that has installed the package imports from "seqbus".
 */

import { connect } from "../src/client/index.ts";

// Data by topic, so that the compiler knows what comes where.
type Topics = {
  "sensors.kitchen.temperature": { celsius: number };
  "sensors.*.temperature": { celsius: number };
};

await using bus = await connect<Topics>();
const readings = await bus.subscribe("sensors.*.temperature");

for (const celsius of [21.5, 21.75, 22]) bus.publish("sensors.kitchen.temperature", { celsius });
const { delivered } = await bus.flush();
console.log(`published 3 readings, ${delivered} deliveries`);

let received = 0;
for await (const { topic, data, sender } of readings) {
  console.log(`${topic}: ${data.celsius} °C, from uid ${sender.uid}, pid ${sender.pid}`);
  received += 1;
  if (received === 3) break;
}
