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

  /** The least busy member. */
  first(service: Service<Connection>): Member<Connection> | undefined {
    for (;;) {
      const member = service.leastBusy();
      if (member === undefined || this.#isFresh(member)) return member;
    }
  }

  /** The one to be tried if that one cannot; undefined where it has just lost the right to serve. */
  after(service: Service<Connection>, member: Member<Connection>): Member<Connection> | undefined {
    const next = service.nextBusy(member);
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
