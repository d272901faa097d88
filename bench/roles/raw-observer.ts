/**
 * Checks each message as raw-subscriber.ts does, and notes how long it waited between packets and
 * how many messages it had when.
 */

import { CreditSender } from "../credit.ts";
import { MessageCheck, ringMessages } from "../message-ring.ts";
import { RawSession } from "../raw-session.ts";
import { type Count, type Gap, readWorkOrder, report, wallClockMs } from "../work-order.ts";
import { BENCH_PATTERN } from "./topic-names.ts";

/** Shorter ones say nothing: publishers pause for longer. */
const NOTED_GAP_MS = 0.5;

/** Between two notes of the count. */
const COUNT_INTERVAL_MS = 5;

const order = readWorkOrder();
const { path, relay, messageBytes, packetBytes } = order;
const session = new RawSession(path, relay, { publish: [], subscribe: BENCH_PATTERN });
const check = new MessageCheck(messageBytes, ringMessages(messageBytes, packetBytes));
const credit = new CreditSender(order);
const gaps: Gap[] = [];
const counts: Count[] = [];
report({ type: "ready" });

check.takePacket(session.buffer.words, session.receive());
report({ type: "streaming" });
const startedAt = wallClockMs();
let endedAt = startedAt;
let countedAt = startedAt;
while (!check.isEnded) {
  const packet = session.receive();
  const now = wallClockMs();
  if (now - endedAt >= NOTED_GAP_MS) gaps.push({ endedAt: now, ms: now - endedAt });
  endedAt = now;
  check.takePacket(session.buffer.words, packet);
  credit.acknowledge(check.messages);
  if (now - countedAt < COUNT_INTERVAL_MS) continue;
  counts.push({ at: now, messages: check.messages });
  countedAt = now;
}
const { messages } = check;
report({ type: "observed", messages, ms: endedAt - startedAt, gaps, counts });
session.close();
