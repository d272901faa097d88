/** Walks the frames of every packet and checks each message, and the fds that come with it. */

import { FRAME_HEADER_BYTES } from "../../src/protocol/limits.ts";
import { CreditSender } from "../credit.ts";
import { MessageCheck, ringMessages } from "../message-ring.ts";
import { Progress } from "../progress.ts";
import { RawSession } from "../raw-session.ts";
import { checkFdCount, closeSampleFds, isLookDue } from "../sample-fds.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { BENCH_PATTERN } from "./topic-names.ts";

const order = readWorkOrder();
const { path, relay, messageBytes, packetBytes, fds } = order;
const session = new RawSession(path, relay, { publish: [], subscribe: BENCH_PATTERN });
const { words } = session.buffer;
const check = new MessageCheck(messageBytes, ringMessages(messageBytes, packetBytes));
const credit = new CreditSender(order);
const progress = new Progress(order.warmUpMs);
report({ type: "ready" });

while (!check.isEnded) {
  const messages = check.messages;
  check.takePacket(words, session.receive());
  if (fds > 0) {
    // A message with fds is alone in its packet, so its number is the first word of its body.
    const number = words[FRAME_HEADER_BYTES >>> 2] as number;
    const wanted = (check.messages - messages) * fds;
    if (isLookDue()) closeSampleFds(session.takeFds(), wanted, number);
    else checkFdCount(session.closeFds(), wanted, number);
  }
  if (credit.acknowledge(check.messages)) progress.note(check.messages);
}
report(progress.finish(check.messages));
session.close();
