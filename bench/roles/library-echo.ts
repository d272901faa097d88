/** Answers each ping with a pong through the client library. The harness ends it. */

import { connect } from "../../src/client/index.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { PING_TOPIC, PONG_TOPIC } from "./topic-names.ts";

const order = readWorkOrder();
const bus = await connect({ path: order.path });
await bus.subscribe(PING_TOPIC, {
  onMessage(message) {
    bus.publish(PONG_TOPIC, message.bytes);
  },
});
report({ type: "ready" });
