/** Walks the frames of every packet and checks each message. */

import { CreditSender } from "../credit.ts";
import { MessageCheck, ringMessages } from "../message-ring.ts";
import { Progress } from "../progress.ts";
import { RawSession } from "../raw-session.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { BENCH_PATTERN } from "./topic-names.ts";

const order = readWorkOrder();
const { path, relay, messageBytes, packetBytes } = order;
const session = new RawSession(path, relay, { publish: [], subscribe: BENCH_PATTERN });
const check = new MessageCheck(messageBytes, ringMessages(messageBytes, packetBytes));
const credit = new CreditSender(order);
const progress = new Progress(order.warmUpMs);
report({ type: "ready" });

while (!check.isEnded) {
  check.takePacket(session.buffer.words, session.receive());
  if (credit.acknowledge(check.messages)) progress.note(check.messages);
}
report(progress.finish(check.messages));
session.close();
