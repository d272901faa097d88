/** Publishes through a peer's npm client as fast as the window allows, then the end. */

import { AsyncCreditWindow } from "../credit.ts";
import { END_BODY_BYTES, FILLER_BYTE, ringMessages } from "../message-ring.ts";
import { publishBatches } from "../publishing.ts";
import { publisherTopics } from "../roles/topic-names.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { connectNpmClient } from "./npm-client.ts";

const order = readWorkOrder();
const topics = publisherTopics(order);
const client = await connectNpmClient(order.relay, order.path);
const window = await AsyncCreditWindow.open(order);

function bodyOf(bytes: number, word: number): Buffer {
  const body = Buffer.alloc(bytes, FILLER_BYTE);
  body.writeUInt32LE(word, 0);
  body.writeUInt32LE(order.source, 4);
  return body;
}

// Clients keep what they are given until it is sent, so each number has a body of its own.
const bodies = Array.from(
  { length: ringMessages(order.messageBytes, order.packetBytes) },
  (_, at) => bodyOf(order.messageBytes, at),
);
const messages = await publishBatches(order, window, (count) => {
  const body = bodies[count % bodies.length] as Buffer;
  client.publish(topics[count % topics.length] ?? "", body);
});
client.publish(topics[0] ?? "", bodyOf(END_BODY_BYTES, messages));
await client.flush();
report({ type: "published", messages });
window.close();
await client.close();
process.exit(0);
