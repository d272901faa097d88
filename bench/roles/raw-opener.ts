/**
 * Opens topics one by one, blocking, and asks SYNC as often: a request that costs the broker next to
 * nothing, so the difference is what opening costs.
 */

import { OPCODE } from "../../src/protocol/opcodes.ts";
import { RoundTrips } from "../latency.ts";
import { topicOfRule } from "../policy-rules.ts";
import { RawSession } from "../raw-session.ts";
import { readWorkOrder, report } from "../work-order.ts";

/** Steps through the topics far from where the last one was; prime, so that it meets each. */
const TOPIC_STRIDE = 7_919;

/** One at a time is unanswered, so all may have the same. */
const REQUEST_ID = 1;

const order = readWorkOrder();
const session = new RawSession(order.path, order.relay, { publish: [], subscribe: undefined });
const syncs = new RoundTrips(order);
const opens = new RoundTrips(order);
for (let at = 0, goesOn = true; goesOn; at = (at + TOPIC_STRIDE) % order.policyRules) {
  syncs.begin();
  session.ask(OPCODE.SYNC, REQUEST_ID);
  syncs.end();
  opens.begin();
  const topicId = session.openTopic(REQUEST_ID, topicOfRule(at));
  goesOn = opens.end();
  session.tell(OPCODE.CLOSE_TOPIC, topicId);
  session.ask(OPCODE.SYNC, REQUEST_ID);
}
const { rounds, p50Us, p99Us } = opens.report();
const syncP50Us = syncs.report().p50Us;
report({ type: "opened", rounds, p50Us, ...(p99Us !== undefined && { p99Us }), syncP50Us });
session.close();
