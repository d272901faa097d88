/** Answers each ping with a pong of the same number, blocking. The harness ends it. */

import { buildRing } from "../message-ring.ts";
import { RawSession } from "../raw-session.ts";
import { checkLength } from "../round-number.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { BODY_WORD, bodyBytesOf, receiveMessage } from "./raw-message.ts";
import { PING_TOPIC, PONG_TOPIC } from "./topic-names.ts";

const order = readWorkOrder();
const session = new RawSession(order.path, order.relay, {
  publish: [PONG_TOPIC],
  subscribe: PING_TOPIC,
});
const [pong] = buildRing(session.topicIds, order.messageBytes, 1);
if (pong === undefined) throw new Error("No packet was built");
report({ type: "ready" });
for (;;) {
  const frame = receiveMessage(session);
  checkLength(bodyBytesOf(session, frame), order.messageBytes);
  pong.buffer.words[BODY_WORD] = session.buffer.words[frame + BODY_WORD] as number;
  session.send(pong.buffer, pong.bytes);
}
