/** Measures calls, blocking, one under way. Each is sent as one prebuilt packet. */

import { OPCODE } from "../../src/protocol/opcodes.ts";
import { RoundTrips } from "../latency.ts";
import { RawSession } from "../raw-session.ts";
import { RoundNumber } from "../round-number.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { buildRequest, REPLY_CALL_WORD, REQUEST_CALL_WORD } from "./raw-call.ts";
import { BODY_WORD, bodyBytesOf, REQUEST_BODY_WORD, receiveFrame } from "./raw-message.ts";
import { PING_TOPIC } from "./topic-names.ts";

/** Calls are numbered by their round, from here on. */
const CALL_FIRST = 1;

const order = readWorkOrder();
const { path, relay, messageBytes } = order;
const session = new RawSession(path, relay, { publish: [], subscribe: undefined });
const serviceId = session.openService(CALL_FIRST, PING_TOPIC);
const request = buildRequest(serviceId, messageBytes);
const { words } = session.buffer;
const round = new RoundNumber(messageBytes);
const trips = new RoundTrips(order);
do {
  const call = CALL_FIRST + round.current;
  request.words[REQUEST_CALL_WORD] = call;
  request.words[REQUEST_BODY_WORD] = round.current;
  trips.begin();
  session.send(request, request.byteLength);
  const frame = receiveFrame(session, OPCODE.REPLY);
  const answered = words[frame + REPLY_CALL_WORD];
  if (answered !== call) throw new Error(`Got the reply to call ${answered}, wanted ${call}`);
  round.take(words[frame + BODY_WORD] as number, bodyBytesOf(session, frame));
} while (trips.end());
report(trips.report());
session.close();
