/** Answers each call with a reply of the same number, blocking. The harness ends it. */

import { BODY_PREFIX_BYTES } from "../../src/protocol/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { RawSession } from "../raw-session.ts";
import { checkLength } from "../round-number.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { buildReply, REPLY_CALL_WORD, REQUEST_CALL_WORD } from "./raw-call.ts";
import { BODY_WORD, bodyBytesOf, REQUEST_BODY_WORD, receiveFrame } from "./raw-message.ts";
import { PING_TOPIC } from "./topic-names.ts";

const { path, relay, messageBytes } = readWorkOrder();
const session = new RawSession(path, relay, { publish: [], subscribe: undefined });
session.serve(1, PING_TOPIC);
const reply = buildReply(messageBytes);
const { words } = session.buffer;
report({ type: "ready" });
for (;;) {
  const frame = receiveFrame(session, OPCODE.REQUEST);
  checkLength(bodyBytesOf(session, frame) - BODY_PREFIX_BYTES, messageBytes);
  reply.words[REPLY_CALL_WORD] = words[frame + REQUEST_CALL_WORD] as number;
  reply.words[BODY_WORD] = words[frame + REQUEST_BODY_WORD] as number;
  session.send(reply, reply.byteLength);
}
