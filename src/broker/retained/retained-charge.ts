/**
 * Who pays for a last value. The sender's user does, also when its connection is gone, until the
 * value is replaced, cleared or expired; the connection does besides while it lives (quota.ts).
 * Counting only.
 */

import { assert } from "../../assert.ts";
import type { LimitFigures } from "../quotas/excess.ts";
import { type ConnectionQuota, RESOURCE, type Resource, type UserQuota } from "../quotas/quota.ts";
import { RETAINED_OVERHEAD_BYTES } from "./limits.ts";

/** What a last value is charged for. */
export interface RetainedSize {
  /** Bytes of its frame, of the memory behind a large body, and of the name of its topic. */
  readonly bytes: number;
  /** Files that the broker keeps open, a large body among them. */
  readonly fds: number;
}

/** What a last value was charged for, and to whom. */
export interface RetainedCharge extends RetainedSize {
  readonly account: ConnectionQuota;
}

/** Why a last value is not kept, and what would be in use with it. */
export interface RetainedExcess extends LimitFigures {
  /** What is used up, in words. */
  readonly what: string;
}

/** Charges for last values, and gives back. */
export class RetainedCharges {
  #bytes = 0;
  #fds = 0;

  /** What is charged for now, of all users. */
  get total(): RetainedSize {
    return { bytes: this.#bytes, fds: this.#fds };
  }

  /**
   * Whether a value fits, seen as if the one that it replaces were gone. Nothing is charged.
   * @returns undefined where it does
   */
  excess(
    account: ConnectionQuota,
    size: RetainedSize,
    replaced: RetainedCharge | undefined,
  ): RetainedExcess | undefined {
    const { user } = account;
    const ofUser = replaced?.account.user === user ? replaced : undefined;
    return (
      excessValues(account, replaced) ??
      excessBytes(account, size, replaced) ??
      excessFds(user, size, ofUser)
    );
  }

  /** Charges for a value that excess() found to fit, once the one that it replaces is released. */
  charge(account: ConnectionQuota, size: RetainedSize): RetainedCharge {
    const hasRoom =
      account.charge(RESOURCE.retained, 1) &&
      account.charge(RESOURCE.retainedBytes, chargedBytes(size));
    assert(hasRoom, "what is charged was found to fit");
    // Of the user alone: what a connection has on its way is waited for, and this is not.
    account.user.impose(RESOURCE.fds, size.fds);
    this.#bytes += chargedBytes(size);
    this.#fds += size.fds;
    return { account, ...size };
  }

  /** Gives back what charge() took; also after the connection is gone. */
  release({ account, ...size }: RetainedCharge): void {
    this.#bytes -= chargedBytes(size);
    this.#fds -= size.fds;
    account.user.release(RESOURCE.fds, size.fds);
    account.release(RESOURCE.retainedBytes, chargedBytes(size));
    account.release(RESOURCE.retained, 1);
  }
}

function excessValues(
  account: ConnectionQuota,
  replaced: RetainedCharge | undefined,
): RetainedExcess | undefined {
  const excess = excessOfShare(account, RESOURCE.retained, 1, { by: replaced, amount: 1 });
  return excess && { what: "last values", ...excess };
}

function excessBytes(
  account: ConnectionQuota,
  size: RetainedSize,
  replaced: RetainedCharge | undefined,
): RetainedExcess | undefined {
  const freed = { by: replaced, amount: replaced === undefined ? 0 : chargedBytes(replaced) };
  const excess = excessOfShare(account, RESOURCE.retainedBytes, chargedBytes(size), freed);
  return excess && { what: "bytes of last values", ...excess };
}

/** The rule of ConnectionQuota.charge(), once what is replaced was released. */
function excessOfShare(
  account: ConnectionQuota,
  resource: Resource,
  more: number,
  freed: { readonly by: RetainedCharge | undefined; readonly amount: number },
): LimitFigures | undefined {
  const { user } = account;
  const replaced = freed.by?.account;
  const payer = replaced?.user === user ? replaced : account;
  const own = account.used(resource) - (replaced === account ? freed.amount : 0);
  const limit = account.limitWithout(resource, payer, freed.amount);
  const actual = own + more;
  return actual <= limit ? undefined : { actual, limit };
}

/** Files that are kept leave half of what the user may have open to those that are on their way. */
function excessFds(
  user: UserQuota,
  { fds }: RetainedSize,
  replaced: RetainedSize | undefined,
): RetainedExcess | undefined {
  if (fds === 0) return undefined;
  const limit = Math.floor(user.limit(RESOURCE.fds) / 2);
  const actual = user.used(RESOURCE.fds) - (replaced?.fds ?? 0) + fds;
  return actual <= limit ? undefined : { what: "files", actual, limit };
}

function chargedBytes({ bytes }: RetainedSize): number {
  return bytes + RETAINED_OVERHEAD_BYTES;
}
