/** Why the broker ends connections, as code and words. The wording of all endings stands here. */

import type { ErrorCode, SyscallError } from "../errors.ts";
import { type Excess, excessWords } from "./excess.ts";
import {
  HELLO_TIMEOUT_MS,
  NEWCOMERS_PER_SECOND,
  NEWCOMERS_WAITING_MAX,
  SEND_QUEUE_BYTES_MAX,
  STALL_LIMIT_MS,
} from "./limits.ts";

/** Why a connection ends, where it is not the client's own wish. */
export interface Cause {
  readonly code: ErrorCode;
  readonly message: string;
  /** The limit that was reached, where it is one that is counted. */
  readonly excess?: Excess | undefined;
}

/**
 * More connections, of all users or of this one, than the limits allow.
 * @param excess undefined where the process may open no more files
 */
export function tooManyConnections(excess: Excess | undefined): Cause {
  const why = excess === undefined ? "the broker may open no more files" : excessWords(excess);
  return { code: "LIMIT_CONNECTIONS", message: `Cannot serve client: ${why}`, excess };
}

/** The user has connected too often lately, and enough of his newcomers wait already. */
export function connectsTooOften(uid: number): Cause {
  const message =
    `Cannot serve client: uid ${uid} connects more than ${NEWCOMERS_PER_SECOND} times a second, ` +
    `and ${NEWCOMERS_WAITING_MAX} wait to be let in`;
  const [actual, limit] = [NEWCOMERS_WAITING_MAX, NEWCOMERS_WAITING_MAX];
  return { code: "LIMIT_CONNECTIONS", message, excess: { resource: "connections", actual, limit } };
}

/** The broker could not make the fd lane that the client asked for. */
export function noFdsLeft(error: SyscallError): Cause {
  return { code: "LIMIT_CONNECTIONS", message: `Cannot serve client: ${error.message}` };
}

/** A newer connection of the same user took this one's place in the waiting room. */
export function tooManyAwaitingHello(): Cause {
  const message = "Cannot serve client: too many connections of this user have not said HELLO";
  return { code: "LIMIT_CONNECTIONS", message };
}

/** The broker has no policy, and the client is somebody else. */
export function notOwner(uid: number): Cause {
  const message = `Cannot serve uid ${uid}: this broker has no policy and serves its own user alone`;
  return { code: "REJECTED_NOT_OWNER", message };
}

/** The listener verifies each packet, and this one came from another process. */
export function anotherSender(): Cause {
  const message = "Cannot take packet: another process sent it than the one that connected";
  return { code: "REJECTED_SENDER", message };
}

/** HELLO_TIMEOUT_MS went by. */
export function noHello(): Cause {
  const message = `Cannot serve client: no HELLO within ${HELLO_TIMEOUT_MS} ms`;
  return { code: "TIMEOUT_HELLO", message };
}

/** The client left fds in its socket for longer than they may wait. */
export function doesNotTakeFds(fds: number, waitedMs: number): Cause {
  const figures = `${fds} file descriptors wait in its socket for ${waitedMs} ms`;
  const message = `Cannot serve client: ${figures}, and it takes none`;
  return { code: "LIMIT_QUEUED_FDS", message };
}

/** The files that the user sent cannot be closed, so no more may come. */
export function fdsDoNotClose(uid: number): Cause {
  const message = `Cannot serve uid ${uid}: closing the files that it sent hangs`;
  return { code: "LIMIT_QUEUED_FDS", message };
}

/**
 * The client left its queue to overflow, the reserve for control frames included.
 * @param queuedBytes what is in it
 */
export function doesNotRead(queuedBytes: number): Cause {
  const why = "it does not read, and control frames no longer fit";
  const message = `Cannot serve client: ${why} behind the ${queuedBytes} bytes that wait`;
  return { code: "LIMIT_CONTROL_QUEUE", message };
}

/** The client asked to miss no message, and its queue is full. */
export function readsTooSlowly(queuedBytes: number): Cause {
  const message =
    `Cannot serve client: ${queuedBytes} bytes wait for it, limit is ${SEND_QUEUE_BYTES_MAX}, ` +
    "and it asked to miss none of it";
  return { code: "LIMIT_SLOW_READER", message };
}

/** The client held publishers back and took nothing for STALL_LIMIT_MS. */
export function holdsOthersBack(queuedBytes: number): Cause {
  const message =
    `Cannot serve client: it holds publishers back and took none of the ${queuedBytes} bytes ` +
    `that wait for it within ${STALL_LIMIT_MS} ms`;
  return { code: "LIMIT_SLOW_READER", message };
}
