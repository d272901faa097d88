/** Makes connections, or subscriptions on one, that nothing ever comes to. The harness ends it. */

import { raiseOpenFilesLimit } from "../../src/ffi/resource-limits.ts";
import { RawSession } from "../raw-session.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { idleTopics } from "./topic-names.ts";

raiseOpenFilesLimit();
const { path, relay, idleConnections, idleSubscriptions } = readWorkOrder();
const sessions = Array.from({ length: Math.max(1, idleConnections) }, () => {
  return new RawSession(path, relay, { publish: [], subscribe: undefined });
});
for (const [at, topic] of idleTopics(idleSubscriptions).entries()) {
  sessions[0]?.subscribe(at + 1, topic);
}
report({ type: "ready" });
setInterval(() => sessions.length, 1_000_000);
