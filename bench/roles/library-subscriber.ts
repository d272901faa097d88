/** Receives through the client library, by callback or by iterator, and checks each message. */

import { fstatSync } from "node:fs";
import { connect, type Message } from "../../src/client/index.ts";
import { PACKET_BYTES_MAX } from "../../src/protocol/limits.ts";
import { ENCODING } from "../../src/protocol/opcodes.ts";
import { checkFdCount, checkSampleSize, isLookDue } from "../sample-fds.ts";
import { readSampleObject } from "../sample-object.ts";
import { readEveryByte, SubscriberCheck } from "../subscriber-check.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { BENCH_PATTERN } from "./topic-names.ts";

/** Messages between two looks at the credit, for small ones. */
const CREDIT_LOOK_MASK = 0x7f;

const order = readWorkOrder();
const { messageBytes } = order;
const subscriber = new SubscriberCheck(order);
const { check } = subscriber;
const lookMask = order.windowMessages > 4 * CREDIT_LOOK_MASK ? CREDIT_LOOK_MASK : 0;
const hasSources = order.publishers > 1;
/** Larger ones hold on to mapped memory until they are let go. */
const isLarge = messageBytes > PACKET_BYTES_MAX;
const bus = await connect({ path: order.path });

function take(message: Message): void {
  if (message.encoding === ENCODING.MSGPACK) {
    // An object has no length of its own to compare; its fields are looked at instead.
    check.take(readSampleObject(message.data), messageBytes);
  } else {
    const bytes = message.bytes;
    check.take(wordAt(bytes, 0), bytes.byteLength, hasSources ? wordAt(bytes, 4) : 0);
    if (order.readsAll) readEveryByte(bytes);
    if (isLarge) message[Symbol.dispose]();
    if (order.fds > 0 && !check.isEnded) takeFds(message, wordAt(bytes, 0));
  }
  if ((check.messages & lookMask) === 0 || check.isEnded) subscriber.acknowledge();
}

function takeFds(message: Message, number: number): void {
  checkFdCount(message.fds.length, order.fds, number);
  if (isLookDue()) {
    for (const file of message.fds) checkSampleSize(fstatSync(file.fd).size, number);
  }
  // Who lets go of a message closes its fds, as others do here.
  message[Symbol.dispose]();
}

function wordAt(bytes: Uint8Array, at: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}

if (process.argv[3] === "library-iterator") {
  const messages = await bus.subscribe(BENCH_PATTERN);
  report({ type: "ready" });
  for await (const message of messages) {
    take(message);
    if (check.isEnded) break;
  }
} else {
  const { promise, resolve } = Promise.withResolvers<void>();
  await bus.subscribe(BENCH_PATTERN, {
    onMessage(message) {
      take(message);
      if (check.isEnded) resolve();
    },
  });
  report({ type: "ready" });
  await promise;
}
subscriber.finish();
await bus.close();
