/** Publishes large bodies, each with its number in front, as fast as the window allows. */

import { connect, Memory } from "../../src/client/index.ts";
import { CreditWindow } from "../credit.ts";
import { FloorClient } from "./floor-client.ts";
import { LARGE_END_BYTES, LARGE_TOPIC, readLargeOrder, say } from "./large-order.ts";

const order = readLargeOrder();
const body = new Uint8Array(new ArrayBuffer(order.bodyBytes)).fill(0x5a);
const numberWord = new Uint32Array(body.buffer, 0, 1);
const window = new CreditWindow(order);
const shared = Memory.from(body).seal();

/** How one body is sent, and the end. */
interface Way {
  readonly send: () => void;
  readonly end: () => Promise<void>;
}

function floorWay(): Way {
  const client = new FloorClient(order.path, false);
  const sendNew = (): void => {
    using memory = Memory.from(body).seal();
    client.send(order.bodyBytes, [memory.fd]);
  };
  return {
    send: order.isShared ? () => client.send(order.bodyBytes, [shared.fd]) : sendNew,
    end: async () => client.send(LARGE_END_BYTES, []),
  };
}

async function libraryWay(): Promise<Way> {
  const bus = await connect({ path: order.path });
  // Opens the topic, so that everything after leaves at once and this process may block.
  bus.publish(LARGE_TOPIC, new Uint8Array(0));
  await bus.flush();
  const data = order.isShared ? shared : body;
  return {
    send: () => void bus.publish(LARGE_TOPIC, data),
    end: async () => {
      bus.publish(LARGE_TOPIC, new Uint8Array(LARGE_END_BYTES));
      const { dropped } = await bus.flush();
      if (dropped > 0) throw new Error(`The broker dropped ${dropped} messages`);
    },
  };
}

const way = order.relay === "floor" ? floorWay() : await libraryWay();
const endsAt = performance.now() + order.durationMs;
let messages = 0;
while (performance.now() < endsAt) {
  window.awaitRoom(messages + 1);
  numberWord[0] = messages;
  way.send();
  messages += 1;
}
await way.end();
say({ type: "published", messages });
process.disconnect?.();
