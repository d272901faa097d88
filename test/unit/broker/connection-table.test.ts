import { beforeEach, describe, expect, test } from "bun:test";
import type { Connection } from "../../../src/broker/connection.ts";
import { ConnectionTable } from "../../../src/broker/connection-table.ts";
import {
  AWAITING_HELLO_PER_UID_MAX,
  CONNECTIONS_MAX,
  CONNECTIONS_PER_UID_MAX,
} from "../../../src/broker/limits.ts";
import { ConnectionBench } from "./connection-fixture.ts";

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
  test("uses slots again and ids never", () => {
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

  test("has room up to its limit, and no user more than CONNECTIONS_PER_UID_MAX", () => {
    const small = new ConnectionTable(2);
    add(small, 1);
    expect(small.hasRoomFor(1)).toBe(true);
    const { connection } = add(small, 2);
    expect(small.hasRoomFor(3)).toBe(false);
    small.remove(connection);
    expect(small.hasRoomFor(3)).toBe(true);

    const large = new ConnectionTable(CONNECTIONS_MAX * 2);
    for (let count = 0; count < CONNECTIONS_PER_UID_MAX; count += 1) {
      expect(large.hasRoomFor(1)).toBe(true);
      large.noteHello(add(large, 1).connection);
    }
    expect(large.hasRoomFor(1)).toBe(false);
    expect(large.hasRoomFor(2)).toBe(true);
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
