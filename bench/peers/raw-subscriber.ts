/** Walks what a peer delivers and checks each message. */

import { CreditSender } from "../credit.ts";
import { MessageCheck, ringMessages } from "../message-ring.ts";
import { Progress } from "../progress.ts";
import { benchTopics } from "../roles/topic-names.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { dialectOf } from "./dialects.ts";
import { PeerWalk } from "./peer-ring.ts";
import { PeerStream } from "./peer-stream.ts";
import { openStream } from "./stream-socket.ts";

/** What a protocol puts around a body, at most. */
const ENVELOPE_BYTES_MAX = 512;

const order = readWorkOrder();
const { path, relay, messageBytes, packetBytes, fds } = order;
const dialect = dialectOf(relay);
const stream = new PeerStream(openStream(path), {
  messageBytesMax: messageBytes + ENVELOPE_BYTES_MAX,
  takesFds: fds > 0,
  pauseMs: dialect.pauseMs,
});
dialect.enter(stream, { subscribe: benchTopics(order.topics), fds });
const check = new MessageCheck(messageBytes, ringMessages(messageBytes, packetBytes));
const walk = new PeerWalk(stream, dialect, check, fds);
const credit = new CreditSender(order);
const progress = new Progress(order.warmUpMs);
report({ type: "ready" });

while (!check.isEnded) {
  stream.receive();
  walk.takeMessages();
  if (credit.acknowledge(check.messages)) progress.note(check.messages);
}
report(progress.finish(check.messages));
stream.close();
