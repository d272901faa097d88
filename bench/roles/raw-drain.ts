/** Subscribes and reads whatever comes, gaps included. The harness stops it, and ends it. */

import { RawSession } from "../raw-session.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { BENCH_PATTERN } from "./topic-names.ts";

const { path, relay } = readWorkOrder();
const session = new RawSession(path, relay, { publish: [], subscribe: BENCH_PATTERN });
report({ type: "ready" });
for (;;) session.receive();
