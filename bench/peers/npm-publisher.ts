/** Publishes through a peer's npm client as fast as the window allows, then the end. */

import { AsyncCreditWindow } from "../credit.ts";
import { END_BODY_BYTES, ringMessages } from "../message-ring.ts";
import { publisherTopics } from "../roles/topic-names.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { connectNpmClient } from "./npm-client.ts";

/** Messages between two looks at the window; more than half of it would never fit. */
const BATCH_MESSAGES_MAX = 128;

const order = readWorkOrder();
const batch = Math.min(BATCH_MESSAGES_MAX, Math.max(1, order.windowMessages >> 1));
const topics = publisherTopics(order);
const client = await connectNpmClient(order.relay, order.path);
const window = await AsyncCreditWindow.open(order);

function bodyOf(bytes: number, word: number): Buffer {
  const body = Buffer.alloc(bytes, 0x5a);
  body.writeUInt32LE(word, 0);
  body.writeUInt32LE(order.source, 4);
  return body;
}

// Clients keep what they are given until it is sent, so each number has a body of its own.
const bodies = Array.from(
  { length: ringMessages(order.messageBytes, order.packetBytes) },
  (_, at) => bodyOf(order.messageBytes, at),
);
const endsAt = performance.now() + order.durationMs;
let messages = 0;
while (performance.now() < endsAt && messages < order.messagesMax) {
  if (!window.hasRoom(messages + batch)) {
    await window.next();
    continue;
  }
  for (let index = 0; index < batch; index += 1) {
    const body = bodies[messages % bodies.length] as Buffer;
    client.publish(topics[messages % topics.length] ?? "", body);
    messages += 1;
  }
}
client.publish(topics[0] ?? "", bodyOf(END_BODY_BYTES, messages));
await client.flush();
report({ type: "published", messages });
window.close();
await client.close();
process.exit(0);
