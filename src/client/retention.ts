/** Messages that the broker is to keep: for how long, and the prefix that says so. Pure. */

import { ArgumentError } from "../errors.ts";
import { BODY_PREFIX_BYTES } from "../protocol/limits.ts";

/** Choices for one message. */
export interface RetainOptions {
  /**
   * The broker keeps the message, with its files, as the last value of its topic: whoever subscribes
   * later gets it first, marked `retained`. Default false.
   */
  readonly retain?: boolean;
  /** With `retain`: milliseconds until the broker forgets it. Default: until it is replaced. */
  readonly retainFor?: number;
}

/** The longest that a message can be kept, as u32: 49 days. */
const RETAIN_FOR_MS_MAX = 0xffff_ffff;

/**
 * The milliseconds that a message is to be kept.
 * @returns 0 for ever; undefined where it is not to be kept
 * @throws {ArgumentError} ARGUMENT_OPTION
 */
export function keptMsOf({ retain = false, retainFor }: RetainOptions): number | undefined {
  if (retainFor === undefined) return retain ? 0 : undefined;
  if (!retain) throw badRetention("it is not to be retained, set retain as well");
  const isRight = Number.isInteger(retainFor) && retainFor >= 1 && retainFor <= RETAIN_FOR_MS_MAX;
  if (isRight) return retainFor;
  throw badRetention(`it must be a whole number of milliseconds, 1 to ${RETAIN_FOR_MS_MAX}`);
}

/** The body of a RETAIN. @param body copied */
export function prefixed(keptMs: number, body: Uint8Array): Uint8Array {
  const whole = new Uint8Array(BODY_PREFIX_BYTES + body.byteLength);
  new DataView(whole.buffer).setUint32(0, keptMs, true);
  whole.set(body, BODY_PREFIX_BYTES);
  return whole;
}

function badRetention(why: string): ArgumentError {
  return new ArgumentError("ARGUMENT_OPTION", `Cannot apply retainFor: ${why}`, "retainFor");
}
