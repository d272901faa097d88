/** Receives through the client library, by callback or by iterator, and checks each message. */

import { connect, type Message } from "../../src/client/index.ts";
import { ENCODING } from "../../src/protocol/opcodes.ts";
import { CreditSender } from "../credit.ts";
import { MessageCheck, ringMessages } from "../message-ring.ts";
import { Progress } from "../progress.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { BENCH_PATTERN } from "./topic-names.ts";

/** Messages between two looks at the credit, for small ones. */
const CREDIT_LOOK_MASK = 0x7f;

const order = readWorkOrder();
const { messageBytes, packetBytes } = order;
const check = new MessageCheck(messageBytes, ringMessages(messageBytes, packetBytes));
const credit = new CreditSender(order);
const progress = new Progress(order.warmUpMs);
const lookMask = order.windowMessages > 4 * CREDIT_LOOK_MASK ? CREDIT_LOOK_MASK : 0;
const bus = await connect({ path: order.path });

function take(message: Message): void {
  if (message.encoding === ENCODING.MSGPACK) {
    const { number } = message.data as { number: number };
    check.take(number, messageBytes);
  } else {
    const bytes = message.bytes;
    check.take(firstWord(bytes), bytes.byteLength);
  }
  if ((check.messages & lookMask) === 0 || check.isEnded) look();
}

function firstWord(bytes: Uint8Array): number {
  const [a = 0, b = 0, c = 0, d = 0] = [bytes[0], bytes[1], bytes[2], bytes[3]];
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}

function look(): void {
  if (credit.acknowledge(check.messages)) progress.note(check.messages);
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
report(progress.finish(check.messages));
await bus.close();
