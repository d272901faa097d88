/** Measures calls, blocking, one under way. Each is sent as one prebuilt packet. */

import { FRAME_HEADER_BYTES } from "../../src/protocol/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { RoundTrips } from "../latency.ts";
import { RawSession } from "../raw-session.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { buildRequest } from "./raw-call.ts";
import { receiveFrame } from "./raw-message.ts";
import { PING_TOPIC } from "./topic-names.ts";

/** One call is under way, so its number is free again when its answer is here. */
const CALL = 1;

const { messageBytes, ...order } = readWorkOrder();
const session = new RawSession(order.path, order.relay, { publish: [], subscribe: undefined });
const serviceId = session.openService(CALL, PING_TOPIC);
const request = buildRequest(serviceId, CALL, messageBytes);
const trips = new RoundTrips({ messageBytes, ...order });
do {
  trips.begin();
  session.send(request, request.byteLength);
  const frame = receiveFrame(session, OPCODE.REPLY);
  const bodyBytes = (session.buffer.words[frame] as number) - FRAME_HEADER_BYTES;
  if (bodyBytes !== messageBytes) throw new Error(`Got ${bodyBytes} bytes`);
} while (trips.end());
report(trips.report());
session.close();
