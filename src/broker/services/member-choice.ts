/**
 * Which member of a service gets what comes next, by the policy that is in force: after a reload a
 * member's rights are computed anew before it gets anything more.
 */

import type { BusState } from "../bus-state.ts";
import type { Connection } from "../connection.ts";
import type { Member } from "./least-busy.ts";
import type { Service } from "./service-table.ts";

/** Chooses members. */
export class MemberChoice {
  readonly #state: BusState;
  readonly #refreshRights: (connection: Connection) => void;

  /** @param refreshRights computes the rights of one connection anew; it may stop to serve by that */
  constructor(state: BusState, refreshRights: (connection: Connection) => void) {
    this.#state = state;
    this.#refreshRights = refreshRights;
  }

  /** The least busy member that can be reached. */
  first(service: Service<Connection>): Member<Connection> | undefined {
    for (;;) {
      const member = reachable(service, service.leastBusy());
      if (member === undefined || this.#isFresh(member)) return member;
    }
  }

  /** The one to be tried if that one cannot; undefined where it has just lost the right to serve. */
  after(service: Service<Connection>, member: Member<Connection>): Member<Connection> | undefined {
    const next = reachable(service, service.nextBusy(member));
    return next !== undefined && this.#isFresh(next) ? next : undefined;
  }

  /** Whether the member still serves, once its rights are those of the policy in force. */
  #isFresh(member: Member<Connection>): boolean {
    if (member.client.policyGeneration !== this.#state.policyGeneration) {
      this.#refreshRights(member.client);
    }
    return member.isListed;
  }
}

/**
 * The first member from there on that can be reached. Those that have ended, or read no more, stay
 * listed until they are buried; many can die at once, and no request may be lost on them.
 */
function reachable(
  service: Service<Connection>,
  from: Member<Connection> | undefined,
): Member<Connection> | undefined {
  let member = from;
  while (member !== undefined && !isReachable(member.client)) member = service.nextBusy(member);
  return member;
}

function isReachable({ state, queue }: Connection): boolean {
  return state === "OPEN" && !queue.isAbandoned;
}
