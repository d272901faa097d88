/** The last word to a client: the ERROR that ends its connection. Sending it is sessions.ts's. */

import { errorBody } from "../../protocol/control-messages.ts";
import { FLAG_FATAL, OPCODE } from "../../protocol/opcodes.ts";
import { STATUS, type StatusName } from "../../protocol/status-codes.ts";
import { encodeControlFrame } from "../sending/control-frames.ts";
import type { Cause } from "./endings.ts";

/** What an ERROR that ends a connection says beside why. */
export interface FatalFields {
  readonly offset?: number;
  readonly protocol?: number | undefined;
}

/** Puts the last word to a client into CONTROL_FRAME_BUFFER. @returns bytes of the frame */
export function encodeFatal(cause: Cause, fields: FatalFields): number {
  const status = STATUS[cause.code as StatusName];
  const { limit, actual } = cause.figures ?? {};
  const body = errorBody({ status, message: cause.message, ...fields, limit, actual });
  return encodeControlFrame({ opcode: OPCODE.ERROR, flags: FLAG_FATAL, id: 0, body });
}
