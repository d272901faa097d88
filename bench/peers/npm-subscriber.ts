/** Receives through a peer's npm client and checks each message. */

import { CreditSender } from "../credit.ts";
import { MessageCheck, ringMessages } from "../message-ring.ts";
import { Progress } from "../progress.ts";
import { benchTopics } from "../roles/topic-names.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { connectNpmClient } from "./npm-client.ts";

/** Messages between two looks at the credit, for small ones. */
const CREDIT_LOOK_MASK = 0x7f;

const order = readWorkOrder();
const { messageBytes, packetBytes } = order;
const check = new MessageCheck(messageBytes, ringMessages(messageBytes, packetBytes));
const credit = new CreditSender(order);
const progress = new Progress(order.warmUpMs);
const lookMask = order.windowMessages > 4 * CREDIT_LOOK_MASK ? CREDIT_LOOK_MASK : 0;
const client = await connectNpmClient(order.relay, order.path);
const { promise, resolve, reject } = Promise.withResolvers<void>();

function take(body: Uint8Array): void {
  const [a = 0, b = 0, c = 0, d = 0] = [body[0], body[1], body[2], body[3]];
  check.take((a | (b << 8) | (c << 16) | (d << 24)) >>> 0, body.byteLength);
  if ((check.messages & lookMask) !== 0 && !check.isEnded) return;
  if (credit.acknowledge(check.messages)) progress.note(check.messages);
  if (check.isEnded) resolve();
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
report(progress.finish(check.messages));
await client.close();
process.exit(0);
