/**
 * When a lost connection is tried again, and when it is not. Pure: time and chance are passed in,
 * and nothing here connects.
 */

import { ArgumentError, ProtocolError, RejectedError } from "../errors.ts";
import { OUTBOUND_BYTES_MAX, RECONNECT_MS_FIRST, RECONNECT_MS_MAX } from "./limits.ts";

/** Choices for connect(), about a connection that is lost later. */
export interface ReconnectOptions {
  /** Milliseconds: the first attempt comes after 0 to so many; default 50. Doubles each time. */
  readonly minDelayMs?: number;
  /** Milliseconds that lie between two attempts at most; default 5,000. */
  readonly maxDelayMs?: number;
  /** Attempts after which the bus ends; default: no end. */
  readonly maxAttempts?: number;
  /**
   * What publish() does meanwhile: "keep" (default) keeps messages and sends them later, in order;
   * "refuse" throws ClosedError CLOSED_DISCONNECTED.
   */
  readonly whileDisconnected?: "keep" | "refuse";
  /** Bytes of messages that are kept at most; then publish() throws LIMIT_OUTBOUND. Default 128 MiB. */
  readonly keepBytes?: number;
}

/** The same with every choice made. */
export type ReconnectPlan = Required<ReconnectOptions>;

const DEFAULT_PLAN: ReconnectPlan = {
  minDelayMs: RECONNECT_MS_FIRST,
  maxDelayMs: RECONNECT_MS_MAX,
  maxAttempts: Number.POSITIVE_INFINITY,
  whileDisconnected: "keep",
  keepBytes: OUTBOUND_BYTES_MAX,
};

/**
 * Fills in what was not chosen.
 * @param choice as connect() takes it
 * @returns undefined for none: the bus ends with its connection
 * @throws {ArgumentError} ARGUMENT_OPTION
 */
export function planReconnect(
  choice: boolean | ReconnectOptions = true,
): ReconnectPlan | undefined {
  if (choice === false) return undefined;
  const plan: ReconnectPlan = choice === true ? DEFAULT_PLAN : { ...DEFAULT_PLAN, ...choice };
  const { minDelayMs, maxDelayMs, maxAttempts, whileDisconnected, keepBytes } = plan;
  check(minDelayMs >= 1 && Number.isFinite(minDelayMs), "minDelayMs", "a number of 1 or more");
  check(
    maxDelayMs >= minDelayMs && maxDelayMs <= DELAY_MS_LIMIT,
    "maxDelayMs",
    `a number from minDelayMs to ${DELAY_MS_LIMIT}`,
  );
  check(maxAttempts >= 1, "maxAttempts", "a number of 1 or more");
  check(keepBytes >= 0, "keepBytes", "a number of 0 or more");
  const isKnown = whileDisconnected === "keep" || whileDisconnected === "refuse";
  check(isKnown, "whileDisconnected", '"keep" or "refuse"');
  return plan;
}

/** Milliseconds of an hour. More is no back-off any more, and a timer has to hold it. */
const DELAY_MS_LIMIT = 3_600_000;

function check(isFit: boolean, option: string, wanted: string): void {
  if (isFit) return;
  const message = `Cannot connect: ${option} must be ${wanted}`;
  throw new ArgumentError("ARGUMENT_OPTION", message, option);
}

/** Whether another attempt would meet the same error. A broker that refuses or is no broker is final. */
export function isFinal(error: unknown): boolean {
  return (
    error instanceof ProtocolError ||
    error instanceof RejectedError ||
    error instanceof ArgumentError
  );
}

/**
 * The pauses between attempts: exponential, with full jitter. Any length from 0 on is equally
 * likely, so that the clients of a broker that has died do not come back all at once.
 */
export class BackOff {
  readonly #plan: Pick<ReconnectPlan, "minDelayMs" | "maxDelayMs" | "maxAttempts">;
  readonly #random: () => number;
  #attempts = 0;
  #doublings = 0;
  #connectedAt = Number.NEGATIVE_INFINITY;

  /** @param random from 0 to below 1 */
  constructor(
    plan: Pick<ReconnectPlan, "minDelayMs" | "maxDelayMs" | "maxAttempts"> = DEFAULT_PLAN,
    random: () => number = Math.random,
  ) {
    this.#plan = plan;
    this.#random = random;
  }

  /** Attempts since the connection was lost. */
  get attempts(): number {
    return this.#attempts;
  }

  /** Counts one more attempt. @returns milliseconds to wait before it; undefined: give up */
  nextDelayMs(): number | undefined {
    const { minDelayMs, maxDelayMs, maxAttempts } = this.#plan;
    if (this.#attempts >= maxAttempts) return undefined;
    this.#attempts += 1;
    const ceiling = Math.min(maxDelayMs, minDelayMs * 2 ** this.#doublings);
    if (ceiling < maxDelayMs) this.#doublings += 1;
    return this.#random() * ceiling;
  }

  /** All is as before. @param nowMs by any clock, the same in both calls */
  noteConnected(nowMs: number): void {
    this.#connectedAt = nowMs;
  }

  /**
   * The connection is lost. Where it did not last as long as the longest pause, the pauses go on
   * from where they were: a broker that crashes on what we send must not get it all the time.
   */
  noteLost(nowMs: number): void {
    this.#attempts = 0;
    if (nowMs - this.#connectedAt >= this.#plan.maxDelayMs) this.#doublings = 0;
  }
}
