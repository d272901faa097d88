/** Sends each body as sealed memory through a floor relay: the floor of large messages. */

import { Memory } from "../../src/client/index.ts";
import { CreditWindow } from "../credit.ts";
import { buildEnd, RING_PACKETS } from "../message-ring.ts";
import { RawSession } from "../raw-session.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { buildMemoryRecord } from "./memory-record.ts";

const order = readWorkOrder();
const session = new RawSession(order.path, order.relay, {
  publish: ["memory"],
  subscribe: undefined,
});
const body = new Uint8Array(new ArrayBuffer(order.messageBytes)).fill(0x5a);
const numberWord = new Uint32Array(body.buffer, 0, 1);
const record = buildMemoryRecord();
const window = new CreditWindow(order);

const endsAt = performance.now() + order.durationMs;
let messages = 0;
while (performance.now() < endsAt && messages < order.messagesMax) {
  window.awaitRoom(messages + 1);
  numberWord[0] = messages % RING_PACKETS;
  using memory = Memory.from(body).seal();
  session.send(record, record.byteLength, [memory.fd]);
  messages += 1;
}
const end = buildEnd(0, messages);
session.send(end.buffer, end.bytes);
report({ type: "published", messages });
session.close();
