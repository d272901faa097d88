/** Receives through a peer's npm client and checks each message. */

import { benchTopics } from "../roles/topic-names.ts";
import { readEveryByte, SubscriberCheck } from "../subscriber-check.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { connectNpmClient } from "./npm-client.ts";

/** Messages between two looks at the credit, for small ones. */
const CREDIT_LOOK_MASK = 0x7f;

const order = readWorkOrder();
const subscriber = new SubscriberCheck(order);
const { check } = subscriber;
const lookMask = order.windowMessages > 4 * CREDIT_LOOK_MASK ? CREDIT_LOOK_MASK : 0;
const client = await connectNpmClient(order.relay, order.path);
const { promise, resolve, reject } = Promise.withResolvers<void>();

function take(body: Uint8Array): void {
  check.take(wordAt(body, 0), body.byteLength, wordAt(body, 4));
  if (order.readsAll) readEveryByte(body);
  if ((check.messages & lookMask) !== 0 && !check.isEnded) return;
  subscriber.acknowledge();
  if (check.isEnded) resolve();
}

function wordAt(bytes: Uint8Array, at: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}

await client.subscribe(benchTopics(order.topics), (body) => {
  try {
    take(body);
  } catch (error) {
    reject(error);
  }
});
report({ type: "ready" });
await promise;
subscriber.finish();
await client.close();
process.exit(0);
