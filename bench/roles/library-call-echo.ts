/** Answers each call with its body through the client library. The harness ends it. */

import { connect } from "../../src/client/index.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { PING_TOPIC } from "./topic-names.ts";

const order = readWorkOrder();
const bus = await connect({ path: order.path });
await bus.serve(PING_TOPIC, (request) => request.bytes);
report({ type: "ready" });
