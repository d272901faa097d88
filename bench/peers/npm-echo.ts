/** Answers each ping with a pong through a peer's npm client. The harness ends it. */

import { PING_TOPIC, PONG_TOPIC } from "../roles/topic-names.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { connectNpmClient } from "./npm-client.ts";

const order = readWorkOrder();
const receiving = await connectNpmClient(order.relay, order.path);
const sending = await connectNpmClient(order.relay, order.path);
await receiving.subscribe([PING_TOPIC], (body) => sending.publish(PONG_TOPIC, body));
report({ type: "ready" });
