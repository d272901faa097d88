/**
 * The members of a service in the order in which they get work: who has the fewest unanswered
 * requests first, and among equals who has waited longest.
 *
 *     0 unanswered   C ⇄ A       first() is C; after raise(C) it stands at the end of 1
 *     1 unanswered   B
 *     2 unanswered
 *
 * A list for each number of unanswered requests, so a request and an answer move one member to the
 * end of the next list: O(1) for thousands of members. Pure; knows nothing of what they serve.
 */

import { assert } from "../../assert.ts";

/** One that serves. */
export class Member<Client> {
  readonly client: Client;
  /** Takes private channels. */
  takesChannels: boolean;
  /** Requests that it has not answered. */
  unanswered = 0;
  /** Bytes of the largest body of a reply; valid while `limitGeneration` is the policy's. */
  replyBytesMax = 0;
  /** The generation of the policy that `replyBytesMax` is from; -1 for never. */
  limitGeneration = -1;
  /** It knows that it serves. */
  isTold = false;
  /** The generation of the policy that its right to serve was last decided by; -1 for never. */
  rightGeneration = -1;
  /** For LeastBusy alone: its neighbours in its list, and whether it is in one. */
  previous: Member<Client> | undefined = undefined;
  next: Member<Client> | undefined = undefined;
  isListed = false;

  constructor(client: Client, takesChannels: boolean) {
    this.client = client;
    this.takesChannels = takesChannels;
  }
}

interface Level<Client> {
  first: Member<Client> | undefined;
  last: Member<Client> | undefined;
}

/** Members by how much they have to do. */
export class LeastBusy<Client> {
  readonly #levels: Level<Client>[] = [];
  /** No list below this one holds anybody. */
  #lowest = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Who gets the next request. */
  first(): Member<Client> | undefined {
    return this.#levels[this.#lowest]?.first;
  }

  /** Who gets it if that member cannot. */
  after(member: Member<Client>): Member<Client> | undefined {
    if (member.next !== undefined) return member.next;
    for (let busy = member.unanswered + 1; busy < this.#levels.length; busy += 1) {
      const first = this.#levels[busy]?.first;
      if (first !== undefined) return first;
    }
    return undefined;
  }

  /** Adds a member. */
  add(member: Member<Client>): void {
    assert(!member.isListed, "a member is added once");
    member.isListed = true;
    this.#append(member);
    this.#size += 1;
    if (this.#size === 1 || member.unanswered < this.#lowest) this.#lowest = member.unanswered;
  }

  /** Takes a member out; requests that it still answers are counted down as before. */
  remove(member: Member<Client>): void {
    assert(member.isListed, "only a member can leave");
    member.isListed = false;
    this.#unlink(member);
    this.#size -= 1;
    if (this.#size === 0) this.#lowest = 0;
    else while (this.#levels[this.#lowest]?.first === undefined) this.#lowest += 1;
  }

  /** A member got a request. */
  raise(member: Member<Client>): void {
    assert(member.isListed, "only a member gets requests");
    this.#unlink(member);
    member.unanswered += 1;
    this.#append(member);
    // If it was the only one there, it is the least busy one still, in the next list.
    if (this.#levels[this.#lowest]?.first === undefined) this.#lowest = member.unanswered;
  }

  /** A request of a member has come to its end; also of one that was removed. */
  lower(member: Member<Client>): void {
    assert(member.unanswered > 0, "a request ends once");
    if (member.isListed) this.#unlink(member);
    member.unanswered -= 1;
    if (!member.isListed) return;
    this.#append(member);
    if (member.unanswered < this.#lowest) this.#lowest = member.unanswered;
  }

  #append(member: Member<Client>): void {
    while (this.#levels.length <= member.unanswered) {
      this.#levels.push({ first: undefined, last: undefined });
    }
    const level = this.#levels[member.unanswered] as Level<Client>;
    member.previous = level.last;
    member.next = undefined;
    if (level.last === undefined) level.first = member;
    else level.last.next = member;
    level.last = member;
  }

  #unlink(member: Member<Client>): void {
    const level = this.#levels[member.unanswered] as Level<Client>;
    if (member.previous === undefined) level.first = member.next;
    else member.previous.next = member.next;
    if (member.next === undefined) level.last = member.previous;
    else member.next.previous = member.previous;
    member.previous = undefined;
    member.next = undefined;
  }
}
