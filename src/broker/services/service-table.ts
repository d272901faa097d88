/**
 * Who serves what. Pure: it holds no rights, decides nothing by policy and tells nobody; it says
 * who gained and who lost a service by each change.
 *
 * Invariants: a service is served by one client alone or by any number that share it; nobody waits
 * in line while nobody serves; the generation of a service grows with each change of who serves it,
 * and never comes again for that name, since all services of a broker draw on one counter.
 */

import { assert } from "../../assert.ts";
import { FoldedSums, type OTHERS } from "../figures/folded-sums.ts";
import type { Topic, TopicTable } from "../routing/topic-table.ts";
import { addCallFigures, type CallFigures, zeroCallFigures } from "./call-figures.ts";
import { LeastBusy, Member } from "./least-busy.ts";

/** What a client that wants to serve asks for. */
export interface Claim {
  /** Together with others that share it. */
  readonly shared: boolean;
  /** Takes private channels. */
  readonly channels: boolean;
}

/** Who serves since a change, and who does not any more; without the client that brought it about. */
export interface OwnerChange<Client> {
  readonly gained: readonly Client[];
  readonly lost: readonly Client[];
}

/** Numbers that only grow. */
export class GenerationCounter {
  #last = 0;

  /** The number given last; 0 for none. */
  get last(): number {
    return this.#last;
  }

  /** A number higher than all before. */
  next(): number {
    this.#last += 1;
    return this.#last;
  }
}

/** One service: who serves it, who waits to, who watches. */
export class Service<Client> {
  /** Its name, and the id that stands for it on the wire. */
  readonly topic: Topic;
  /** Who is told of changes, and the generation that each was told last. */
  readonly watchers = new Map<Client, number>();
  /** Uses of it by connections: callers, servers, watchers. See ServiceTable. */
  holders = 0;
  /** Since the start; of a name that was forgotten for long, since then. */
  readonly figures = zeroCallFigures();
  readonly #generations: GenerationCounter;
  readonly #members = new Map<Client, Member<Client>>();
  readonly #order = new LeastBusy<Client>();
  readonly #line = new Map<Client, Claim>();
  #isShared = false;
  #generation: number;

  /** @param generations of the broker */
  constructor(topic: Topic, generations: GenerationCounter) {
    this.topic = topic;
    this.#generations = generations;
    this.#generation = generations.last;
  }

  get generation(): number {
    return this.#generation;
  }

  /** Who serves, longest first. */
  get owners(): IterableIterator<Client> {
    return this.#members.keys();
  }

  get ownerCount(): number {
    return this.#members.size;
  }

  /** How many stand in line. */
  get waitingCount(): number {
    return this.#line.size;
  }

  /** The client as one that serves; undefined where it does not. */
  member(client: Client): Member<Client> | undefined {
    return this.#members.get(client);
  }

  /** Whether a client stands in line. */
  isWaiting(client: Client): boolean {
    return this.#line.has(client);
  }

  /** Who gets the next request: of those with the fewest unanswered ones, who has waited longest. */
  leastBusy(): Member<Client> | undefined {
    return this.#order.first();
  }

  /** Who is to be tried if that member cannot take it. */
  nextBusy(member: Member<Client>): Member<Client> | undefined {
    return this.#order.after(member);
  }

  /** A member got a request. */
  chargeRequest(member: Member<Client>): void {
    this.#order.raise(member);
  }

  /** A request has come to its end. */
  releaseRequest(member: Member<Client>): void {
    this.#order.lower(member);
  }

  /** Whether a claim can be granted without taking the service from anybody. */
  hasRoomFor({ shared }: Claim): boolean {
    return this.#members.size === 0 || (shared && this.#isShared);
  }

  /** Grants a claim that there is room for. */
  join(client: Client, claim: Claim): void {
    assert(this.hasRoomFor(claim), "a service has one owner, or many that share it");
    this.#add(client, claim);
    this.#generation = this.#generations.next();
  }

  /** Puts a client at the end of the line. */
  wait(client: Client, claim: Claim): void {
    assert(this.#members.size > 0, "nobody waits while nobody serves");
    assert(!this.#members.has(client), "who serves does not wait");
    this.#line.set(client, claim);
  }

  /** Grants the claim of a client that does not serve, and takes the service from all who do. */
  replace(client: Client, claim: Claim): OwnerChange<Client> {
    const lost = [...this.#members.keys()];
    for (const owner of lost) this.#remove(owner);
    this.#add(client, claim);
    const gained = claim.shared ? this.#admitSharers() : [];
    this.#generation = this.#generations.next();
    return { gained, lost };
  }

  /**
   * A client serves no more, or leaves the line. If nobody serves then, whoever is first in line
   * does, with all others in it that share, if that one does.
   * @returns undefined where the client was neither
   */
  leave(client: Client): OwnerChange<Client> | undefined {
    if (this.#line.delete(client)) return { gained: [], lost: [] };
    if (!this.#members.has(client)) return undefined;
    this.#remove(client);
    const gained = this.#members.size === 0 ? this.#admitNext() : [];
    this.#generation = this.#generations.next();
    return { gained, lost: [] };
  }

  #admitNext(): Client[] {
    for (const [client, claim] of this.#line) {
      this.#add(client, claim);
      return claim.shared ? [client, ...this.#admitSharers()] : [client];
    }
    return [];
  }

  #admitSharers(): Client[] {
    const admitted: Client[] = [];
    for (const [client, claim] of this.#line) {
      if (!claim.shared) continue;
      this.#add(client, claim);
      admitted.push(client);
    }
    return admitted;
  }

  #add(client: Client, { shared, channels }: Claim): void {
    assert(!this.#members.has(client), "a client serves a service once");
    const member = new Member(client, channels);
    this.#isShared = shared;
    this.#line.delete(client);
    this.#members.set(client, member);
    this.#order.add(member);
  }

  #remove(client: Client): void {
    const member = this.#members.get(client);
    assert(member !== undefined, "only who serves can stop");
    this.#members.delete(client);
    this.#order.remove(member);
  }
}

/** All services that anybody calls, serves or watches, by name. */
export class ServiceTable<Client> {
  readonly #topics: TopicTable;
  readonly #byName = new Map<string, Service<Client>>();
  readonly #generations = new GenerationCounter();
  /** Of services that nobody uses any more. */
  readonly #gone = new FoldedSums<string, CallFigures>({
    zero: zeroCallFigures,
    add: addCallFigures,
  });

  /** @param topics where services take their ids from */
  constructor(topics: TopicTable) {
    this.#topics = topics;
  }

  /** A service that somebody uses. */
  find(name: string): Service<Client> | undefined {
    return this.#byName.get(name);
  }

  /** What came of calls to services that nobody uses any more; OTHERS for those not kept apart. */
  goneFigures(): Iterable<[name: string | typeof OTHERS, Readonly<CallFigures>]> {
    return this.#gone.entries();
  }

  /** Every service that somebody uses. */
  all(): IterableIterator<Service<Client>> {
    return this.#byName.values();
  }

  /**
   * Adds a use of a service, which is made if need be.
   * @returns undefined where there are too many topics
   */
  hold(name: string): Service<Client> | undefined {
    let service = this.#byName.get(name);
    if (service === undefined) {
      const topic = this.#topics.hold(name);
      if (topic === undefined) return undefined;
      service = new Service(topic, this.#generations);
      addCallFigures(service.figures, this.#gone.take(name) ?? zeroCallFigures());
      this.#byName.set(name, service);
    }
    service.holders += 1;
    return service;
  }

  /** Takes a use away; with the last one the service is forgotten, but for its generation. */
  release(service: Service<Client>): void {
    assert(service.holders > 0, "a service is released once by each holder");
    service.holders -= 1;
    if (service.holders > 0) return;
    this.#byName.delete(service.topic.name);
    if (service.figures.calls > 0) this.#gone.fold(service.topic.name, service.figures);
    this.#topics.release(service.topic);
  }
}
