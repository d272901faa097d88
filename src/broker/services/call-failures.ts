/** Why a call fails, as the code and the words that its caller gets. Ending it is calls.ts's. */

import { FLAG_FAILED } from "../../protocol/opcodes.ts";
import { FDS_NOT_PASSED, QUEUE_FULL } from "../queue-outcomes.ts";
import type { RefusalCode } from "./answers.ts";
import { FDS_DENIED } from "./call-delivery.ts";
import type { PendingCall } from "./connection-services.ts";

/** Nobody took a request, since nobody is there. */
export const NO_SERVICE = { code: "REJECTED_NO_SERVICE", why: "nobody serves it" } as const;

/** Why no member took a request. @param outcome of CallDelivery */
export function requestFailure(outcome: number): { code: RefusalCode; why: string } {
  switch (outcome) {
    case QUEUE_FULL:
      return { code: "LIMIT_PENDING_CALLS", why: "the queue of whoever serves it is full" };
    case FDS_NOT_PASSED:
      return { code: "LIMIT_QUEUED_FDS", why: "its body could not be passed on" };
    case FDS_DENIED:
      return { code: "REJECTED_BY_POLICY", why: "whoever serves it may not receive fds" };
    default:
      return { code: "CLOSED_BY_SERVICE", why: "whoever served it has gone" };
  }
}

/** Why the caller cannot have a reply. @param outcome of CallDelivery */
export function replyFailure(outcome: number): { code: RefusalCode; why: string } {
  switch (outcome) {
    case FDS_NOT_PASSED:
      return { code: "LIMIT_QUEUED_FDS", why: "the body of the reply could not be passed on" };
    case FDS_DENIED:
      return {
        code: "REJECTED_BY_POLICY",
        why: "the reply has fds, which the caller may not receive",
      };
    default:
      return { code: "LIMIT_REPLY", why: "the reply does not fit the queue of the caller" };
  }
}

/** Why a part of a reply is one too many. */
export function partFlaw({ isStream, credit }: PendingCall, flags: number): string | undefined {
  if (!isStream) return "the service answered in parts, and the caller takes none";
  if ((flags & FLAG_FAILED) !== 0) return "the service failed, and says that it goes on";
  return credit > 0 ? undefined : "the service sent more parts than it has credit for";
}
