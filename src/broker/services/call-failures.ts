/** Why a call fails, as the code, words and figures that its caller gets. Ending it is pending-calls.ts's. */

import { FLAG_FAILED } from "../../protocol/opcodes.ts";
import type { FdBudget } from "../fds/fd-budget.ts";
import type { LimitFigures } from "../quotas/excess.ts";
import { FDS_NOT_PASSED, NO_FD_LANE, QUEUE_FULL } from "../sending/queue-outcomes.ts";
import type { SendQueue } from "../sending/send-queue.ts";
import type { Failure } from "./answers.ts";
import { FDS_DENIED, SHARE_FULL } from "./call-delivery.ts";
import type { ConnectionServices, PendingCall } from "./connection-services.ts";

type Budget = Pick<FdBudget, "figures">;
type Queue = Pick<SendQueue, "fullness">;

/** Who was to take a request. */
interface Responder {
  readonly queue: Queue;
  readonly services: Pick<ConnectionServices, "requestRoom"> | undefined;
}

/** Nobody took a request, since nobody is there. */
export const NO_SERVICE: Failure = { code: "REJECTED_NO_SERVICE", why: "nobody serves it" };

/** Whoever had the request answers no more. */
export const SERVICE_GONE: Failure = {
  code: "CLOSED_BY_SERVICE",
  why: "whoever served it has gone",
};

/** What a share is where none was asked for. */
const NO_FIGURES: LimitFigures = { limit: 0, actual: 0 };

/** Why no member took a request. @param outcome of CallDelivery @param responder the last one tried */
export function requestFailure(budget: Budget, responder: Responder, outcome: number): Failure {
  const { queue, services } = responder;
  switch (outcome) {
    case SHARE_FULL: {
      const why = "its user has its share of the queue of whoever serves it";
      const figures = services?.requestRoom?.refusal ?? NO_FIGURES;
      return { code: "LIMIT_PENDING_CALLS", why, figures };
    }
    case QUEUE_FULL: {
      const why = "the queue of whoever serves it is full";
      return { code: "LIMIT_PENDING_CALLS", why, figures: queue.fullness("messages") };
    }
    case FDS_NOT_PASSED:
      return notPassed(budget, "its body could not be passed on");
    case FDS_DENIED:
      return { code: "REJECTED_BY_POLICY", why: "whoever serves it may not receive fds" };
    case NO_FD_LANE:
      return { code: "CLOSED_BY_SERVICE", why: "whoever served it takes no fds any more" };
    default:
      return SERVICE_GONE;
  }
}

/** Why the caller cannot have a reply. @param outcome of CallDelivery @param queue of the caller */
export function replyFailure(budget: Budget, queue: Queue, outcome: number): Failure {
  switch (outcome) {
    case FDS_NOT_PASSED:
    case NO_FD_LANE:
      return notPassed(budget, "the body of the reply could not be passed on");
    case FDS_DENIED: {
      const why = "the reply has fds, which the caller may not receive";
      return { code: "REJECTED_BY_POLICY", why };
    }
    default: {
      const why = "the reply does not fit the queue of the caller";
      return { code: "LIMIT_REPLY", why, figures: queue.fullness("messages") };
    }
  }
}

function notPassed({ figures }: Budget, why: string): Failure {
  return { code: "LIMIT_QUEUED_FDS", why, figures };
}

/** Why a part of a reply is one too many. */
export function partFlaw({ isStream, credit }: PendingCall, flags: number): string | undefined {
  if (!isStream) return "the service answered in parts, and the caller takes none";
  if ((flags & FLAG_FAILED) !== 0) return "the service failed, and says that it goes on";
  return credit > 0 ? undefined : "the service sent more parts than it has credit for";
}
