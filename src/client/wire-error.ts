/** Errors that came over the wire, turned into the classes that programs match on. */

import {
  ClosedError,
  type ClosedErrorCode,
  ConfigError,
  type ConfigErrorCode,
  LimitError,
  type LimitErrorCode,
  ProtocolError,
  type ProtocolErrorCode,
  RejectedError,
  type RejectedErrorCode,
  TimeoutError,
  type TimeoutErrorCode,
} from "../errors.ts";
import type { ErrorBody } from "../protocol/control-messages.ts";
import { statusName } from "../protocol/status-codes.ts";

/** Any error that the broker can send. */
export type WireError =
  | ProtocolError
  | RejectedError
  | LimitError
  | ClosedError
  | TimeoutError
  | ConfigError;

/**
 * The error that an ERROR or GOODBYE frame stands for.
 * @returns by the status number; an unknown number is treated by its range, docs/protocol.md 6
 */
export function errorFromWire(body: ErrorBody): WireError {
  const { status, message } = body;
  const code = statusName(status);
  if (status < 32) {
    return new ProtocolError((code ?? "PROTOCOL_STATE") as ProtocolErrorCode, message, body.offset);
  }
  if (status < 64) {
    const fields = { status, rule: body.rule, topic: body.topic };
    return new RejectedError((code ?? "REJECTED_BY_POLICY") as RejectedErrorCode, message, fields);
  }
  if (status < 96) {
    const { limit, actual } = body;
    const fields = { limit, actual };
    return new LimitError((code ?? "LIMIT_CONNECTIONS") as LimitErrorCode, message, fields);
  }
  if (status >= 128 && status < 160) {
    return new TimeoutError((code ?? "TIMEOUT_HELLO") as TimeoutErrorCode, message, 0);
  }
  if (status >= 160) return new ConfigError((code ?? "CONFIG_POLICY") as ConfigErrorCode, message);
  return new ClosedError((code ?? "CLOSED_BY_BROKER") as ClosedErrorCode, message);
}
