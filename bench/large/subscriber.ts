/** Receives large bodies and reads them as told; checks length, and number where it is there. */

import { connect, type Message } from "../../src/client/index.ts";
import { Mapping } from "../../src/ffi/mapping.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { CreditSender } from "../credit.ts";
import { FloorClient } from "./floor-client.ts";
import { ABSENT_BYTE, LARGE_END_BYTES, LARGE_TOPIC, readLargeOrder, say } from "./large-order.ts";

/** The number in front of a body; it may hold any byte. */
const NUMBER_BYTES = 4;

const order = readLargeOrder();
const credit = new CreditSender(order);
let messages = 0;
let startedAt = 0;
let warmAt = 0;
let warmFrom = 0;

/** Looks at the clock: when does it begin to count? */
function noteTime(): void {
  const now = performance.now();
  if (startedAt === 0) startedAt = now;
  if (now - startedAt < order.warmUpMs) return;
  warmAt = now;
  warmFrom = messages;
  say({ type: "warm" });
}

function read(bytes: Uint8Array): void {
  if (warmAt === 0) noteTime();
  const [a = 0, b = 0, c = 0, d = 0] = bytes;
  const number = (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
  const wanted = order.isShared ? 0x5a5a5a5a : messages;
  if (bytes.byteLength !== order.bodyBytes || number !== wanted) {
    throw new Error(`Got ${bytes.byteLength} bytes with number ${number}, wanted ${wanted}`);
  }
  if (order.reading === "every byte" && bytes.indexOf(ABSENT_BYTE, NUMBER_BYTES) !== -1) {
    throw new Error("Got a body that was not sent");
  }
  messages += 1;
  credit.acknowledge(messages);
}

function receiveFromFloor(): void {
  const client = new FloorClient(order.path, true);
  say({ type: "ready" });
  for (;;) {
    const { word, fds } = client.receive();
    if (word === LARGE_END_BYTES) return;
    const [fd = -1] = fds;
    const mapping = Mapping.open(fd, word);
    closeFd(fd);
    read(mapping.bytes);
    mapping.release();
  }
}

async function receiveFromBus(): Promise<void> {
  const bus = await connect({ path: order.path });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onMessage = (message: Message): void => {
    try {
      if (message.byteLength === LARGE_END_BYTES) resolve();
      else if (message.byteLength > 0) read(message.bytes);
      message[Symbol.dispose]();
    } catch (error) {
      reject(error);
    }
  };
  await bus.subscribe(LARGE_TOPIC, { onMessage });
  say({ type: "ready" });
  await promise;
  await bus.close();
}

if (order.relay === "floor") receiveFromFloor();
else await receiveFromBus();
const warmMs = performance.now() - warmAt;
say({ type: "received", messages, warmMessages: messages - warmFrom, warmMs });
process.disconnect?.();
