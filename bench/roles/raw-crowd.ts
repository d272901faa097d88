/**
 * Many connections in one process. Each has topics open and subscriptions, gets the news, and must
 * be told of every reload and of no loss. The harness ends it.
 */

import { Epoll } from "../../src/ffi/epoll.ts";
import { raiseOpenFilesLimit } from "../../src/ffi/resource-limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { RawSession } from "../raw-session.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { visitFrames } from "./raw-frames.ts";
import { crowdTopics, NEWS_PATTERN } from "./topic-names.ts";

const BAD_NEWS: readonly number[] = [OPCODE.ERROR, OPCODE.REVOKED, OPCODE.GAP, OPCODE.GOODBYE];

const order = readWorkOrder();
const { crowdConnections = 0, reloads = 0 } = order.reload ?? {};
raiseOpenFilesLimit();
const epoll = new Epoll();
const sessions = Array.from({ length: crowdConnections }, (_, at) => {
  const publish = crowdTopics(process.pid, at);
  const session = new RawSession(order.path, order.relay, { publish, subscribe: publish[0] });
  session.subscribe(1, NEWS_PATTERN);
  session.watch(epoll, at);
  return session;
});
const reloadsSeen = sessions.map(() => 0);
let upToDate = 0;
report({ type: "ready" });

for (;;) {
  const count = epoll.wait(-1);
  for (let index = 0; index < count; index += 1) take(epoll.token(index));
}

function take(at: number): void {
  const session = sessions[at];
  if (session === undefined) return;
  for (let bytes = session.receiveNow(); bytes > 0; bytes = session.receiveNow()) {
    visitFrames(session, bytes, (opcode) => takeFrame(at, opcode));
  }
}

function takeFrame(at: number, opcode: number): void {
  if (BAD_NEWS.includes(opcode)) throw new Error(`Connection ${at} got opcode ${opcode}`);
  if (opcode !== OPCODE.POLICY_CHANGED) return;
  const seen = (reloadsSeen[at] ?? 0) + 1;
  reloadsSeen[at] = seen;
  if (seen !== reloads) return;
  upToDate += 1;
  if (upToDate === sessions.length) report({ type: "refreshed", connections: upToDate });
}
