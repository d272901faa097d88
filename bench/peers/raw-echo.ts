/** Answers each ping with a pong of the same number in a peer's protocol, blocking. The harness ends it. */

import { PING_TOPIC, PONG_TOPIC } from "../roles/topic-names.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { RawTurns } from "./raw-turns.ts";

const turns = new RawTurns(readWorkOrder(), { sends: PONG_TOPIC, receives: PING_TOPIC });
report({ type: "ready" });
for (;;) {
  turns.send(turns.receive());
}
