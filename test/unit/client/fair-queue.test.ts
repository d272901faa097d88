import { describe, expect, test } from "bun:test";
import { FairQueue } from "../../../src/client/fair-queue.ts";
import { RandomNumbers } from "../../support/random-numbers.ts";

/** What stands in the queue, as its caller knows it. */
interface Item {
  readonly uid: number;
  readonly connection: number;
  /** Grows from item to item. */
  readonly number: number;
}

/** Adds one item for each letter of "uid connection" pairs, such as "7.1". */
function queueOf(...origins: string[]): FairQueue<string> {
  const queue = new FairQueue<string>();
  for (const [index, origin] of origins.entries()) {
    const [uid, connection] = origin.split(".").map(Number);
    queue.push(`${origin}:${index}`, { uid: uid ?? 0, connection: connection ?? 0 });
  }
  return queue;
}

function drain(queue: FairQueue<string>): string[] {
  const items: string[] = [];
  for (let item = queue.shift(); item !== undefined; item = queue.shift()) items.push(item);
  return items;
}

describe("FairQueue", () => {
  test("gives nothing while it is empty, also after it was full", () => {
    const queue = new FairQueue<string>();
    expect([queue.shift(), queue.size, queue.delete("a")]).toEqual([undefined, 0, false]);
    queue.push("a", { uid: 1, connection: 1 });
    expect([queue.size, queue.shift(), queue.size, queue.shift()]).toEqual([1, "a", 0, undefined]);
  });

  test("keeps a connection in one line, whatever uid a broker names for it meanwhile", () => {
    expect(drain(queueOf("7.1", "8.1", "9.2"))).toEqual(["7.1:0", "9.2:2", "8.1:1"]);
  });

  test("lets users take turns, whoever came first and has the most", () => {
    const queue = queueOf("7.1", "7.1", "7.1", "8.2", "8.2", "9.3");
    expect(drain(queue)).toEqual(["7.1:0", "8.2:3", "9.3:5", "7.1:1", "8.2:4", "7.1:2"]);
  });

  test("lets the connections of a user share its turns", () => {
    const queue = queueOf("7.1", "7.1", "7.2", "8.3", "8.3", "8.3");
    expect(drain(queue)).toEqual(["7.1:0", "8.3:3", "7.2:2", "8.3:4", "7.1:1", "8.3:5"]);
  });

  test("puts who comes back behind those who are there", () => {
    const queue = queueOf("7.1", "8.2", "8.2");
    expect(queue.shift()).toBe("7.1:0");
    queue.push("again", { uid: 7, connection: 1 });
    expect(drain(queue)).toEqual(["8.2:1", "again", "8.2:2"]);
  });

  test("passes the turn on where its only item is taken out", () => {
    const queue = queueOf("7.1", "8.2", "9.3");
    expect(queue.delete("7.1:0")).toBe(true);
    expect(queue.delete("9.3:2")).toBe(true);
    expect([queue.size, ...drain(queue)]).toEqual([1, "8.2:1"]);
  });
});

/** How often each key was served since somebody last was, or came. */
class Turns {
  readonly #since = new Map<number, Map<number, number>>();

  join(key: number): void {
    if (!this.#since.has(key)) this.#since.set(key, new Map());
  }

  leave(key: number): void {
    this.#since.delete(key);
  }

  /** @returns how often another one was served meanwhile, at most, by those who still wait too */
  serve(key: number): number {
    const own = this.#since.get(key);
    const most = Math.max(0, ...(own?.values() ?? []));
    own?.clear();
    for (const [other, counts] of this.#since) {
      if (other !== key) counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return most;
  }
}

/** A queue beside all that is known of it. */
class Trial {
  readonly queue = new FairQueue<Item>();
  readonly waiting = new Set<Item>();
  readonly #random: RandomNumbers;
  readonly #users = new Turns();
  readonly #connections = new Map<number, Turns>();
  #pushed = 0;

  constructor(seed: number) {
    this.#random = new RandomNumbers(seed);
  }

  run(steps: number): void {
    for (let step = 0; step < steps; step += 1) {
      // Long runs of the same, so that it fills up and empties.
      const choice = this.#random.below(10) + (step % 500 < 250 ? 0 : 3);
      if (choice < 6) this.#push();
      else if (choice === 6) this.#delete();
      else this.#shift();
      expect(this.queue.size).toBe(this.waiting.size);
    }
  }

  #push(): void {
    // User 0 has most of it.
    const uid = this.#random.below(2) * this.#random.below(6);
    const connection = uid * 10 + this.#random.below(3);
    this.#pushed += 1;
    const item = { uid, connection, number: this.#pushed };
    this.queue.push(item, item);
    this.waiting.add(item);
    this.#users.join(uid);
    this.#connectionsOf(uid).join(connection);
  }

  #delete(): void {
    const index = this.#random.below(Math.max(1, this.waiting.size));
    const item = [...this.waiting][index];
    if (item === undefined) return;
    expect(this.queue.delete(item)).toBe(true);
    expect(this.queue.delete(item)).toBe(false);
    this.#forget(item);
  }

  #shift(): void {
    const item = this.queue.shift();
    expect(item === undefined).toBe(this.waiting.size === 0);
    if (item === undefined) return;
    const { uid, connection } = item;
    const ofConnection = [...this.waiting].find((each) => each.connection === connection);
    expect(item).toBe(ofConnection as Item);
    expect(this.#users.serve(uid)).toBeLessThanOrEqual(1);
    expect(this.#connectionsOf(uid).serve(connection)).toBeLessThanOrEqual(1);
    this.#forget(item);
  }

  #forget(item: Item): void {
    this.waiting.delete(item);
    const rest = [...this.waiting];
    if (!rest.some(({ uid }) => uid === item.uid)) this.#users.leave(item.uid);
    if (!rest.some(({ connection }) => connection === item.connection)) {
      this.#connectionsOf(item.uid).leave(item.connection);
    }
  }

  #connectionsOf(uid: number): Turns {
    let turns = this.#connections.get(uid);
    if (turns === undefined) {
      turns = new Turns();
      this.#connections.set(uid, turns);
    }
    return turns;
  }
}

describe("FairQueue in any order of events", () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])(
    "loses nothing, keeps the order of a connection, and lets nobody go twice before another (seed %d)",
    (seed) => {
      const trial = new Trial(seed);
      trial.run(2_000);
      const left = new Set<Item>();
      for (let item = trial.queue.shift(); item !== undefined; item = trial.queue.shift()) {
        left.add(item);
      }
      expect(left).toEqual(trial.waiting);
    },
  );
});
