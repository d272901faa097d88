import { beforeEach, describe, expect, test } from "bun:test";
import type { Connection } from "../../../src/broker/connection.ts";
import { ConnectionTable } from "../../../src/broker/connection-table.ts";
import { IdSequence } from "../../../src/broker/id-sequence.ts";
import {
  AWAITING_HELLO_PER_UID_MAX,
  CONNECTIONS_MAX,
  CONNECTIONS_PER_UID_MAX,
} from "../../../src/broker/limits.ts";
import { MODEST } from "../../../src/broker/quotas/reserve.ts";
import { ConnectionBench } from "./connection-fixture.ts";

/** Ids of a broker that has lived so long that they start again. */
class WrappingIds extends IdSequence {
  #ids = new IdSequence();

  wrap(): void {
    this.#ids = new IdSequence();
  }

  override next(isTaken: (id: number) => boolean): number {
    return this.#ids.next(isTaken);
  }
}

let bench: ConnectionBench;

beforeEach(() => {
  bench = new ConnectionBench();
});

function add(table: ConnectionTable, uid = 0): { connection: Connection; evicted: unknown } {
  const { slot, id } = table.nextPlace();
  const connection = bench.connect(id, uid, { slot, acceptedAt: id });
  return { connection, evicted: table.add(connection) };
}

describe("ConnectionTable", () => {
  test("uses slots again at once, and ids not", () => {
    const table = new ConnectionTable();
    const first = add(table).connection;
    const second = add(table).connection;
    table.remove(first);
    expect(table.at(first.slot)).toBeUndefined();
    const third = add(table).connection;
    expect(third.slot).toBe(first.slot);
    expect([first.id, second.id, third.id]).toEqual([1, 2, 3]);
    expect(table.at(third.slot)).toBe(third);
    expect([...table.all()]).toEqual([third, second]);
    expect(table.size).toBe(2);
  });

  test("gives no id again that is still in use", () => {
    const ids = new WrappingIds();
    const table = new ConnectionTable({ ids });
    const first = add(table).connection;
    expect(first.id).toBe(1);
    ids.wrap();
    const second = add(table).connection;
    expect(second.id).toBe(2);
    table.remove(first);
    ids.wrap();
    expect(add(table).connection.id).toBe(1);
  });

  test("has room up to its limit", () => {
    const small = new ConnectionTable({ connectionsMax: 2, servesOneUid: true });
    add(small, 1);
    expect(small.excessFor(1)).toBeUndefined();
    const { connection } = add(small, 1);
    expect(small.excessFor(1)).toBeDefined();
    small.remove(connection);
    expect(small.excessFor(1)).toBeUndefined();
  });

  test("counts administrators beyond the limit where it says how many there are", () => {
    const table = new ConnectionTable();
    const limit = 1;
    const first = add(table, 1).connection;
    const extra = add(table, 1).connection;
    expect(table.keepExtra(extra)).toBe(true);
    expect(table.excessFor(1, limit)).toMatchObject({ actual: 2, limit, extras: 1 });
    table.remove(first);
    expect(table.excessFor(1, limit)).toBeUndefined();
    add(table, 1);
    table.remove(extra);
    expect(table.excessFor(1, limit)).toMatchObject({ actual: 1, limit, extras: 0 });
  });

  test("lets no user have more than half of few connections", () => {
    const table = new ConnectionTable({ connectionsMax: 4 });
    add(table, 1);
    expect(table.excessFor(1)).toBeUndefined();
    add(table, 1);
    expect(table.excessFor(1)).toBeDefined();
    expect(table.excessFor(2)).toBeUndefined();
  });

  test("lets no user have more than CONNECTIONS_PER_UID_MAX", () => {
    const large = new ConnectionTable({ connectionsMax: CONNECTIONS_MAX * 2 });
    for (let count = 0; count < CONNECTIONS_PER_UID_MAX; count += 1) {
      expect(large.excessFor(1)).toBeUndefined();
      large.noteHello(add(large, 1).connection);
    }
    expect(large.excessFor(1)).toBeDefined();
    expect(large.excessFor(2)).toBeUndefined();
  });

  test("keeps an eighth of all for users who have few", () => {
    const table = new ConnectionTable({ connectionsMax: 160 });
    const limit = 140;
    for (let count = 0; count < limit; count += 1) {
      const uid = count % 2;
      expect(table.excessFor(uid)).toBeUndefined();
      table.noteHello(add(table, uid).connection);
    }
    expect(table.excessFor(0)).toMatchObject({ actual: limit, limit });
    for (let count = limit; count < 160; count += 1) {
      const uid = count < limit + MODEST.connections ? 7 : 8;
      expect(table.excessFor(uid)).toBeUndefined();
      table.noteHello(add(table, uid).connection);
      expect(table.excessFor(1)).toBeDefined();
    }
    expect(table.excessFor(9)).toMatchObject({ actual: 160, limit: 160 });
  });

  test("names the oldest of a user who has too many that await HELLO", () => {
    const table = new ConnectionTable();
    const stranger = add(table, 2).connection;
    const all: Connection[] = [];
    for (let count = 0; count < AWAITING_HELLO_PER_UID_MAX; count += 1) {
      const { connection, evicted } = add(table, 1);
      expect(evicted).toBeUndefined();
      all.push(connection);
    }
    expect(table.oldestAwaitingHello()).toBe(stranger);
    expect(add(table, 1).evicted).toBe(all[0]);
  });

  test("does not count those who said HELLO among those who await it", () => {
    const table = new ConnectionTable();
    const first = add(table).connection;
    const second = add(table).connection;
    expect(table.oldestAwaitingHello()).toBe(first);
    table.noteHello(first);
    expect(table.oldestAwaitingHello()).toBe(second);
    table.remove(second);
    expect(table.oldestAwaitingHello()).toBeUndefined();
  });
});
