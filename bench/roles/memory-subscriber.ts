/**
 * Maps the sealed memory that comes, past any library. Of each body it checks the number and the length
 * that the frame says; how long the memory is, now and then; every byte, where the order says so.
 */

import { Mapping } from "../../src/ffi/mapping.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { checkLargePacket, checkMemorySize } from "../large-body-check.ts";
import { RawSession } from "../raw-session.ts";
import { isLookDue } from "../sample-fds.ts";
import { readEveryByte, SubscriberCheck } from "../subscriber-check.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { BENCH_PATTERN } from "./topic-names.ts";

const order = readWorkOrder();
const session = new RawSession(order.path, order.relay, { publish: [], subscribe: BENCH_PATTERN });
const { words } = session.buffer;
const subscriber = new SubscriberCheck(order);
const { check } = subscriber;
report({ type: "ready" });

while (!check.isEnded) {
  const bytes = session.receive();
  const [fd, ...others] = session.takeFds();
  if (others.length > 0) throw new Error(`Got ${1 + others.length} fds with one body`);
  if (fd === undefined) check.takePacket(words, bytes);
  else {
    checkLargePacket(words, bytes, order.messageBytes);
    takeMemory(fd);
  }
  subscriber.acknowledge();
}
subscriber.finish();
session.close();

/** @param fd owned */
function takeMemory(fd: number): void {
  if (isLookDue()) checkMemorySize(fd, order.messageBytes);
  const mapping = Mapping.open(fd, order.messageBytes);
  closeFd(fd);
  const [a = 0, b = 0, c = 0, d = 0] = mapping.bytes;
  check.take((a | (b << 8) | (c << 16) | (d << 24)) >>> 0, order.messageBytes);
  if (order.readsAll) readEveryByte(mapping.bytes);
  mapping.release();
}
