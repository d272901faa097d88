/** Publishes through the client library as fast as the window allows, then the end. */

import { connect } from "../../src/client/index.ts";
import { AsyncCreditWindow } from "../credit.ts";
import { END_BODY_BYTES, FILLER_BYTE, RING_PACKETS, ringMessages } from "../message-ring.ts";
import { publishBatches } from "../publishing.ts";
import { SampleFds } from "../sample-fds.ts";
import { SAMPLE_CELSIUS, SAMPLE_UNIT } from "../sample-object.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { publisherTopics } from "./topic-names.ts";

const order = readWorkOrder();
const ring = ringMessages(order.messageBytes, order.packetBytes);
const topics = publisherTopics(order);
await using bus = await connect({ path: order.path });
const window = await AsyncCreditWindow.open(order);

const body = new Uint8Array(new ArrayBuffer(order.messageBytes)).fill(FILLER_BYTE);
const numberWord = new Uint32Array(body.buffer, 0, 2);
numberWord[1] = order.source;
using samples = new SampleFds(order.fds);

function publishBytes(messages: number): void {
  numberWord[0] = messages % ring;
  bus.publish(topics[messages % topics.length] ?? "", body);
}

/** With its fds the message leaves by the lane. */
function publishWithFds(messages: number): void {
  numberWord[0] = messages % ring;
  const fds = samples.of(messages % RING_PACKETS);
  bus.publish(topics[messages % topics.length] ?? "", body, { fds });
}

function publishObject(messages: number): void {
  bus.publish(topics[messages % topics.length] ?? "", {
    number: messages % ring,
    celsius: SAMPLE_CELSIUS,
    unit: SAMPLE_UNIT,
  });
}

function publishOneOf(): (messages: number) => void {
  if (order.fds > 0) return publishWithFds;
  return order.payload === "bytes" ? publishBytes : publishObject;
}

const publishOne = publishOneOf();
const messages = await publishBatches(order, window, publishOne);
const end = new Uint8Array(END_BODY_BYTES);
new DataView(end.buffer).setUint32(0, messages, true);
new DataView(end.buffer).setUint32(4, order.source, true);
bus.publish(topics[0] ?? "", end);
const receipt = await bus.flush();
if (receipt.dropped > 0) throw new Error(`The broker dropped ${receipt.dropped} messages`);
report({ type: "published", messages });
window.close();
