/** Publishes through the client library as fast as the window allows, then the end. */

import { connect } from "../../src/client/index.ts";
import { AsyncCreditWindow } from "../credit.ts";
import { END_BODY_BYTES, ringMessages } from "../message-ring.ts";
import { publishBatches } from "../publishing.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { publisherTopics } from "./topic-names.ts";

const order = readWorkOrder();
const ring = ringMessages(order.messageBytes, order.packetBytes);
const topics = publisherTopics(order);
await using bus = await connect({ path: order.path });
const window = await AsyncCreditWindow.open(order);

const body = new Uint8Array(new ArrayBuffer(order.messageBytes)).fill(0x5a);
const numberWord = new Uint32Array(body.buffer, 0, 2);
numberWord[1] = order.source;

function publishBytes(messages: number): void {
  numberWord[0] = messages % ring;
  bus.publish(topics[messages % topics.length] ?? "", body);
}

function publishObject(messages: number): void {
  bus.publish(topics[messages % topics.length] ?? "", {
    number: messages % ring,
    celsius: 21.5,
    unit: "C",
  });
}

const publishOne = order.payload === "bytes" ? publishBytes : publishObject;
const messages = await publishBatches(order, window, publishOne);
const end = new Uint8Array(END_BODY_BYTES);
new DataView(end.buffer).setUint32(0, messages, true);
new DataView(end.buffer).setUint32(4, order.source, true);
bus.publish(topics[0] ?? "", end);
const receipt = await bus.flush();
if (receipt.dropped > 0) throw new Error(`The broker dropped ${receipt.dropped} messages`);
report({ type: "published", messages });
window.close();
