/**
 * Which member of a service gets what comes next, by the policy that is in force: after a reload a
 * member's rights are computed anew before it gets anything more.
 */

import type { Connection } from "../connection.ts";
import type { BusState } from "../routing/bus-state.ts";
import type { Member } from "./least-busy.ts";
import type { Service } from "./service-table.ts";

/** Called about a connection that serves a service. */
export type ServedListener = (connection: Connection, service: Service<Connection>) => void;

/** Chooses members. */
export class MemberChoice {
  readonly #state: BusState;
  readonly #refreshServed: ServedListener;
  readonly #settleOwner: ServedListener;

  /**
   * @param refreshServed decides anew whether a connection may serve a service; it stops to serve it
   *   where it may not
   * @param settleOwner makes sure that a member knows that it serves
   */
  constructor(state: BusState, refreshServed: ServedListener, settleOwner: ServedListener) {
    this.#state = state;
    this.#refreshServed = refreshServed;
    this.#settleOwner = settleOwner;
  }

  /** The least busy member that can be reached. */
  first(service: Service<Connection>): Member<Connection> | undefined {
    for (;;) {
      const member = reachable(service, service.leastBusy());
      if (member === undefined || this.#isFresh(service, member)) return member;
    }
  }

  /** The one to be tried if that one cannot; undefined where it has just lost the right to serve. */
  after(service: Service<Connection>, member: Member<Connection>): Member<Connection> | undefined {
    const next = reachable(service, service.nextBusy(member));
    return next !== undefined && this.#isFresh(service, next) ? next : undefined;
  }

  /**
   * Whether the member still serves, by the policy in force. All its rights may be thousands, so only
   * this one is decided here.
   */
  #isFresh(service: Service<Connection>, member: Member<Connection>): boolean {
    const { policyGeneration } = this.#state;
    if (member.rightGeneration !== policyGeneration) {
      const { client } = member;
      const isRefreshed = client.policyGeneration === policyGeneration && !client.chore;
      if (!isRefreshed) this.#refreshServed(client, service);
      member.rightGeneration = policyGeneration;
    }
    if (member.isListed && !member.isTold) this.#settleOwner(member.client, service);
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
