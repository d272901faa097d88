/** Maps the sealed memory that comes through a floor relay, and checks each body. */

import { Mapping } from "../../src/ffi/mapping.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { RawSession } from "../raw-session.ts";
import { readEveryByte, SubscriberCheck } from "../subscriber-check.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { MEMORY_RECORD_BYTES } from "./memory-record.ts";

const order = readWorkOrder();
const session = new RawSession(order.path, order.relay, { publish: [], subscribe: "memory" });
const { words } = session.buffer;
const subscriber = new SubscriberCheck(order);
const { check } = subscriber;
report({ type: "ready" });

while (!check.isEnded) {
  const bytes = session.receive();
  if (bytes === MEMORY_RECORD_BYTES) takeMemory(session.takeFds());
  else check.takePacket(words, bytes);
  subscriber.acknowledge();
}
subscriber.finish();
session.close();

function takeMemory(fds: readonly number[]): void {
  const [fd = -1] = fds;
  const mapping = Mapping.open(fd, order.messageBytes);
  closeFd(fd);
  const [a = 0, b = 0, c = 0, d = 0] = mapping.bytes;
  check.take((a | (b << 8) | (c << 16) | (d << 24)) >>> 0, mapping.bytes.byteLength);
  if (order.readsAll) readEveryByte(mapping.bytes);
  mapping.release();
}
