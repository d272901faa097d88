/** Walks the frames of every packet and checks each message, and the fds that come with it. */

import { FRAME_HEADER_BYTES } from "../../src/protocol/limits.ts";
import { RawSession } from "../raw-session.ts";
import { checkFdCount, closeSampleFds, isLookDue } from "../sample-fds.ts";
import { SubscriberCheck } from "../subscriber-check.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { BENCH_PATTERN } from "./topic-names.ts";

const order = readWorkOrder();
const { path, relay, fds } = order;
const session = new RawSession(path, relay, { publish: [], subscribe: BENCH_PATTERN });
const { words } = session.buffer;
const subscriber = new SubscriberCheck(order);
const { check } = subscriber;
report({ type: "ready" });

while (!check.isEnded) {
  const messages = check.messages;
  check.takePacket(words, session.receive());
  if (fds > 0) {
    // A message with fds is alone in its packet, so its number is the first word of its body.
    const number = words[FRAME_HEADER_BYTES >>> 2] as number;
    const wanted = (check.messages - messages) * fds;
    if (isLookDue()) closeSampleFds(session.takeFds(), wanted, number);
    else checkFdCount(session.closeFds(), wanted, number);
  }
  subscriber.acknowledge();
}
subscriber.finish();
session.close();
