/** Makes connections, or subscriptions on one, that nothing ever comes to. The harness ends it. */

import { raiseOpenFilesLimit } from "../../src/ffi/resource-limits.ts";
import { idleTopics } from "../roles/topic-names.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { dialectOf, openPeer } from "./dialects.ts";
import { PeerStream } from "./peer-stream.ts";

raiseOpenFilesLimit();
const { path, relay, idleConnections, idleSubscriptions } = readWorkOrder();
const dialect = dialectOf(relay);
const subscribe = idleTopics(idleSubscriptions);
const streams = Array.from({ length: Math.max(1, idleConnections) }, () => {
  const stream = new PeerStream(openPeer(dialect, path, subscribe.length > 0));
  dialect.enter(stream, { subscribe, isSeparate: true, fds: 0 });
  return stream;
});
report({ type: "ready" });
setInterval(() => streams.length, 1_000_000);
