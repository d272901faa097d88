/** Answers each call with its body through a peer's npm client. The harness ends it. */

import { PING_TOPIC } from "../roles/topic-names.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { connectNpmCaller } from "./npm-client.ts";

const order = readWorkOrder();
const client = await connectNpmCaller(order.relay, order.path);
await client.serve(PING_TOPIC);
report({ type: "ready" });
