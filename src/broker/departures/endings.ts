/** Why the broker ends connections, as code and words. The wording of all endings stands here. */

import type { ErrorCode, LimitErrorCode, SyscallError } from "../../errors.ts";
import { NEWCOMERS_PER_SECOND, NEWCOMERS_WAITING_MAX } from "../arrivals/limits.ts";
import { AWAITING_HELLO_PER_UID_MAX, HELLO_TIMEOUT_MS } from "../limits.ts";
import { type Excess, excessWords, type LimitFigures } from "../quotas/excess.ts";
import type { Fullness } from "../sending/queue-room.ts";

/** Why a connection ends, where it is not the client's own wish. A limit is told with its figures. */
export type Cause = LimitCause | OtherCause;

interface LimitCause {
  readonly code: LimitErrorCode;
  readonly message: string;
  readonly figures: LimitFigures;
}

interface OtherCause {
  readonly code: Exclude<ErrorCode, LimitErrorCode>;
  readonly message: string;
  readonly figures?: undefined;
}

/** The user has connected too often lately, and enough of his newcomers wait already. */
export function connectsTooOften(uid: number): Cause {
  const message =
    `Cannot serve client: uid ${uid} connects more than ${NEWCOMERS_PER_SECOND} times a second, ` +
    `and ${NEWCOMERS_WAITING_MAX} wait to be let in`;
  const figures = { limit: NEWCOMERS_WAITING_MAX, actual: NEWCOMERS_WAITING_MAX };
  return { code: "LIMIT_CONNECTIONS", message, figures };
}

/** More connections, of all users or of this one, than the limits allow. */
export function tooManyConnections(excess: Excess): Cause {
  const message = `Cannot serve client: ${excessWords(excess)}`;
  return { code: "LIMIT_CONNECTIONS", message, figures: excess };
}

/** The process may open no more files. @param figures of FdBudget */
export function noFilesLeft(figures: LimitFigures): Cause {
  const message = "Cannot serve client: the broker may open no more files";
  return { code: "LIMIT_CONNECTIONS", message, figures };
}

/** The broker could not make the fd lane that the client asked for. @param figures of FdBudget */
export function noFdsLeft(error: SyscallError, figures: LimitFigures): Cause {
  const message = `Cannot serve client: ${error.message}`;
  return { code: "LIMIT_CONNECTIONS", message, figures };
}

/** The kernel has no memory or watches left to tell of the client's packets. @param figures as above */
export function cannotWatch(error: SyscallError, figures: LimitFigures): Cause {
  const message = `Cannot serve client: ${error.message}`;
  return { code: "LIMIT_CONNECTIONS", message, figures };
}

/** A newer connection of the same user took this one's place in the waiting room. */
export function tooManyAwaitingHello(): Cause {
  const message = "Cannot serve client: too many connections of this user have not said HELLO";
  const limit = AWAITING_HELLO_PER_UID_MAX;
  return { code: "LIMIT_CONNECTIONS", message, figures: { limit, actual: limit + 1 } };
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

/**
 * The client left fds in its socket for longer than they may wait.
 * @param figures milliseconds
 */
export function doesNotTakeFds(fds: number, figures: LimitFigures): Cause {
  const words = `${fds} file descriptors wait in its socket for ${figures.actual} ms`;
  const message = `Cannot serve client: ${words}, limit is ${figures.limit}, and it takes none`;
  return { code: "LIMIT_QUEUED_FDS", message, figures };
}

/**
 * The files that the user sent cannot be closed, so no more may come.
 * @param figures how many of them, and may be
 */
export function fdsDoNotClose(uid: number, figures: LimitFigures): Cause {
  const message = `Cannot serve uid ${uid}: closing the ${figures.actual} files that it sent hangs`;
  return { code: "LIMIT_QUEUED_FDS", message, figures };
}

/** The client left its queue to overflow, the reserve for control frames included. */
export function doesNotRead({ words, ...figures }: Fullness): Cause {
  const why = "it does not read, and control frames no longer fit";
  return { code: "LIMIT_CONTROL_QUEUE", message: `Cannot serve client: ${why}: ${words}`, figures };
}

/** The client asked to miss no message, and its queue is full. */
export function readsTooSlowly({ words, ...figures }: Fullness): Cause {
  const message = `Cannot serve client: ${words}, and it asked to miss none of it`;
  return { code: "LIMIT_SLOW_READER", message, figures };
}

/**
 * The client held publishers back and took nothing for too long.
 * @param figures milliseconds
 */
export function holdsOthersBack(queuedBytes: number, figures: LimitFigures): Cause {
  const message =
    `Cannot serve client: it holds publishers back and took none of the ${queuedBytes} bytes ` +
    `that wait for it within ${figures.actual} ms, limit is ${figures.limit}`;
  return { code: "LIMIT_SLOW_READER", message, figures };
}
