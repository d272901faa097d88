/**
 * Errors of handlers on their way to the caller: a code and a text, never a stack. What comes in is
 * from another client and may be anything.
 */

import { ServiceError } from "../errors.ts";
import { ENCODING } from "../protocol/opcodes.ts";
import { FAILURE_CODE_LENGTH_MAX, FAILURE_MESSAGE_LENGTH_MAX } from "./limits.ts";
import type { Message } from "./message.ts";

/** The body of a REPLY with FAILED. */
export interface Failure {
  readonly code: string;
  readonly message: string;
}

/** For handlers that throw something without a code of their own. */
const CODE_UNNAMED = "FAILED";

const CODE_PATTERN = /^[A-Z][A-Z0-9_]*$/;

/** Bytes of a failure that a caller looks into. Each character takes 6 in JSON at most. */
const FAILURE_BYTES_MAX = 6 * (FAILURE_CODE_LENGTH_MAX + FAILURE_MESSAGE_LENGTH_MAX) + 64;

/** What the caller is told of an error. */
export function failureOf(error: unknown): Failure {
  const { code, message } = fieldsOf(error);
  const text = typeof message === "string" ? message : textOf(error);
  return { code: isCode(code) ? code : CODE_UNNAMED, message: cut(text) };
}

/** What may be thrown need not be an Error. */
function fieldsOf(thrown: unknown): { readonly code?: unknown; readonly message?: unknown } {
  return typeof thrown === "object" && thrown !== null ? thrown : {};
}

/** The error that a caller gets. @param reply with FAILED; stays the caller's to dispose of */
export function serviceErrorOf(reply: Message): ServiceError {
  const { topic } = reply;
  const silent = `The service "${topic}" failed and did not say how`;
  const { code, message } = readFailure(reply);
  return new ServiceError(
    isCode(code) ? code : CODE_UNNAMED,
    typeof message === "string" ? cut(message) : silent,
    { topic },
  );
}

function readFailure(reply: Message): { readonly code?: unknown; readonly message?: unknown } {
  const { encoding, byteLength } = reply;
  const isText = encoding === ENCODING.JSON || encoding === ENCODING.MSGPACK;
  if (!isText || byteLength > FAILURE_BYTES_MAX) return {};
  try {
    const data: unknown = reply.data;
    return typeof data === "object" && data !== null ? data : {};
  } catch {
    // It does not decode: whoever answered broke its word, which is a failure as well.
    return {};
  }
}

function isCode(code: unknown): code is string {
  if (typeof code !== "string" || code.length > FAILURE_CODE_LENGTH_MAX) return false;
  return CODE_PATTERN.test(code);
}

function cut(text: string): string {
  if (text.length <= FAILURE_MESSAGE_LENGTH_MAX) return text;
  return `${text.slice(0, FAILURE_MESSAGE_LENGTH_MAX - 1)}…`;
}

function textOf(thrown: unknown): string {
  try {
    return String(thrown);
  } catch {
    return "The handler threw something that has no text";
  }
}
