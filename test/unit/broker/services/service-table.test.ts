/** Who serves what, against a model that is too simple to be wrong. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Topic, TopicTable } from "../../../../src/broker/routing/topic-table.ts";
import { LeastBusy, Member } from "../../../../src/broker/services/least-busy.ts";
import {
  GenerationCounter,
  Service,
  ServiceTable,
} from "../../../../src/broker/services/service-table.ts";

const ALONE = { shared: false, channels: false };
const SHARED = { shared: true, channels: false };

function service(): Service<string> {
  return new Service(new Topic(1, "a"), new GenerationCounter());
}

function ownersOf(of: Service<string>): string[] {
  return [...of.owners];
}

describe("Service", () => {
  test("has one owner, and the next in line when it leaves", () => {
    const one = service();
    one.join("a", ALONE);
    expect(one.hasRoomFor(ALONE)).toBe(false);
    expect(one.hasRoomFor(SHARED)).toBe(false);
    one.wait("b", ALONE);
    one.wait("c", ALONE);
    expect(one.leave("b")).toEqual({ gained: [], lost: [] });
    expect(one.leave("a")).toEqual({ gained: ["c"], lost: [] });
    expect(ownersOf(one)).toEqual(["c"]);
    expect(one.leave("a")).toBeUndefined();
  });

  test("lets all in that share, and past those that do not", () => {
    const one = service();
    one.join("a", ALONE);
    for (const [client, claim] of [
      ["b", SHARED],
      ["c", ALONE],
      ["d", SHARED],
    ] as const) {
      one.wait(client, claim);
    }
    expect(one.leave("a")?.gained).toEqual(["b", "d"]);
    expect(one.hasRoomFor(SHARED)).toBe(true);
    one.join("e", SHARED);
    expect(one.leave("b")?.gained).toEqual([]);
    one.leave("d");
    expect(one.leave("e")?.gained).toEqual(["c"]);
  });

  test("is taken over from all who serve it", () => {
    const one = service();
    one.join("a", SHARED);
    one.join("b", SHARED);
    one.wait("c", ALONE);
    expect(one.replace("c", ALONE)).toEqual({ gained: [], lost: ["a", "b"] });
    expect(ownersOf(one)).toEqual(["c"]);
    expect(one.isWaiting("c")).toBe(false);
    one.wait("d", SHARED);
    expect(one.replace("e", SHARED)).toEqual({ gained: ["d"], lost: ["c"] });
  });

  test("has owners as the model says, and a generation that grows with each change", () => {
    const step = fc.record({
      client: fc.constantFrom("a", "b", "c", "d", "e"),
      act: fc.constantFrom(...ACTS),
      shared: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const one = service();
        const model = new ServiceModel();
        for (const { client, act, shared } of steps) {
          const { generation } = one;
          const owners = model.ownersInWords();
          expect(one.hasRoomFor({ shared, channels: false })).toBe(model.hasRoomFor(shared));
          model.apply(one, client, act, shared);
          expect(ownersOf(one).sort().join()).toBe(model.ownersInWords());
          const isChanged = owners !== model.ownersInWords();
          expect(Math.sign(one.generation - generation)).toBe(isChanged ? 1 : 0);
          expect(model.isSound()).toBe(true);
        }
      }),
      { numRuns: 400 },
    );
  });
});

const ACTS = ["serve", "replace", "queue", "leave"] as const;

/** Who serves and who waits, each with whether it shares. */
class ServiceModel {
  readonly #owners = new Map<string, boolean>();
  readonly #line = new Map<string, boolean>();

  hasRoomFor(shared: boolean): boolean {
    return this.#owners.size === 0 || (shared && !this.#hasLoneOwner());
  }

  ownersInWords(): string {
    return [...this.#owners.keys()].sort().join();
  }

  /** One owner alone, or many that share; and nobody waits for nobody. */
  isSound(): boolean {
    if (this.#hasLoneOwner() && this.#owners.size !== 1) return false;
    return this.#owners.size > 0 || this.#line.size === 0;
  }

  /** Does the same to both. */
  apply(one: Service<string>, client: string, act: (typeof ACTS)[number], shared: boolean): void {
    const claim = { shared, channels: false };
    if (act === "leave") {
      const isKnown = this.#owners.delete(client) || this.#line.delete(client);
      if (this.#owners.size === 0) this.#admit();
      expect(one.leave(client) !== undefined).toBe(isKnown);
    } else if (this.#owners.has(client)) return;
    else if (this.hasRoomFor(shared)) {
      this.#add(client, shared);
      one.join(client, claim);
    } else if (act === "replace") {
      this.#owners.clear();
      this.#add(client, shared);
      if (shared) this.#admit();
      one.replace(client, claim);
    } else if (act === "queue" && !this.#line.has(client)) {
      this.#line.set(client, shared);
      one.wait(client, claim);
    }
  }

  #add(client: string, shared: boolean): void {
    this.#line.delete(client);
    this.#owners.set(client, shared);
  }

  /** The first in line, and all that share if it does or if those who serve do. */
  #admit(): void {
    for (const [client, shared] of [...this.#line]) {
      if (this.hasRoomFor(shared)) this.#add(client, shared);
    }
  }

  #hasLoneOwner(): boolean {
    return [...this.#owners.values()].includes(false);
  }
}

describe("ServiceTable", () => {
  test("never gives a generation again, also when nobody used the service meanwhile", () => {
    const topics = new TopicTable();
    const table = new ServiceTable<string>(topics);
    const first = table.hold("a");
    first?.join("one", ALONE);
    first?.leave("one");
    const last = first?.generation ?? 0;
    if (first !== undefined) table.release(first);
    expect(table.find("a")).toBeUndefined();
    expect(topics.size).toBe(0);
    const second = table.hold("a");
    expect(second).not.toBe(first);
    expect(second?.generation).toBe(last);
    second?.join("two", ALONE);
    expect(second?.generation).toBeGreaterThan(last);
  });

  test("keeps a service for as long as somebody uses it", () => {
    const table = new ServiceTable<string>(new TopicTable());
    const one = table.hold("a");
    expect(table.hold("a")).toBe(one);
    if (one === undefined) throw new Error("There are too many topics");
    table.release(one);
    expect([...table.all()]).toEqual([one]);
    table.release(one);
    expect([...table.all()]).toEqual([]);
    expect(() => table.release(one)).toThrow("released once");
  });
});

describe("LeastBusy", () => {
  test("gives work to whom a search through all would give it", () => {
    const step = fc.record({
      act: fc.constantFrom("raise", "raise", "raise", "lower", "add", "remove"),
      pick: fc.nat(1_000),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const order = new LeastBusy<number>();
        const model = new BusyModel();
        for (const { act, pick } of steps) {
          model.apply(order, act, pick);
          const found: Member<number>[] = [];
          for (let next = order.first(); next !== undefined; next = order.after(next)) {
            found.push(next);
          }
          expect(found.map(({ client }) => client)).toEqual(model.wanted());
          expect(order.size).toBe(found.length);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("goes round among equals, and past nobody", () => {
    const order = new LeastBusy<string>();
    const members = ["a", "b", "c"].map((client) => new Member(client, false));
    for (const member of members) order.add(member);
    const served: string[] = [];
    for (let count = 0; count < 7; count += 1) {
      const member = order.first() as Member<string>;
      served.push(member.client);
      order.raise(member);
    }
    expect(served.join("")).toBe("abcabca");
    expect(() => order.lower(new Member("d", false))).toThrow("ends once");
  });
});

/** Members in the order in which they came to the number of requests that they have now. */
class BusyModel {
  readonly #members: Member<number>[] = [];
  readonly #gone: Member<number>[] = [];
  #made = 0;

  wanted(): number[] {
    const sorted = this.#members.toSorted((a, b) => a.unanswered - b.unanswered);
    return sorted.map(({ client }) => client);
  }

  apply(order: LeastBusy<number>, act: string, pick: number): void {
    const member = pickOf(this.#members, pick);
    if (act === "add") {
      this.#made += 1;
      const added = new Member(this.#made, false);
      order.add(added);
      this.#members.push(added);
    } else if (act === "lower") this.#lower(order, pick);
    else if (member === undefined) return;
    else if (act === "remove") {
      order.remove(member);
      this.#takeOut(member);
      this.#gone.push(member);
    } else {
      const first = order.first() as Member<number>;
      order.raise(first);
      this.#moveBack(first);
    }
  }

  #lower(order: LeastBusy<number>, pick: number): void {
    const busy = [...this.#members, ...this.#gone].filter(({ unanswered }) => unanswered > 0);
    const done = pickOf(busy, pick);
    if (done === undefined) return;
    order.lower(done);
    if (this.#members.includes(done)) this.#moveBack(done);
  }

  #moveBack(member: Member<number>): void {
    this.#takeOut(member);
    this.#members.push(member);
  }

  #takeOut(member: Member<number>): void {
    this.#members.splice(this.#members.indexOf(member), 1);
  }
}

function pickOf<Item>(items: readonly Item[], pick: number): Item | undefined {
  return items[pick % Math.max(1, items.length)];
}
