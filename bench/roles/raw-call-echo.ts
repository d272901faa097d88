/** Answers each call with a prebuilt reply, blocking. The harness ends it. */

import { BODY_PREFIX_BYTES, FRAME_HEADER_BYTES } from "../../src/protocol/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { RawSession } from "../raw-session.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { buildReply, REPLY_CALL_WORD } from "./raw-call.ts";
import { receiveFrame } from "./raw-message.ts";
import { PING_TOPIC } from "./topic-names.ts";

const { path, relay, messageBytes } = readWorkOrder();
const session = new RawSession(path, relay, { publish: [], subscribe: undefined });
session.serve(1, PING_TOPIC);
const reply = buildReply(messageBytes);
const { words } = session.buffer;
report({ type: "ready" });
for (;;) {
  const frame = receiveFrame(session, OPCODE.REQUEST);
  const bodyBytes = (words[frame] as number) - FRAME_HEADER_BYTES - BODY_PREFIX_BYTES;
  if (bodyBytes !== messageBytes) throw new Error(`Got ${bodyBytes} bytes`);
  reply.words[REPLY_CALL_WORD] = words[frame + FRAME_HEADER_BYTES / 4] as number;
  session.send(reply, reply.byteLength);
}
