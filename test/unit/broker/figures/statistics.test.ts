import { describe, expect, test } from "bun:test";
import type { Connection } from "../../../../src/broker/connection.ts";
import { OTHERS } from "../../../../src/broker/figures/folded-sums.ts";
import { FOLDED_SUMS_MAX } from "../../../../src/broker/figures/limits.ts";
import { Statistics } from "../../../../src/broker/figures/statistics.ts";
import { ConnectionBench } from "../connection-fixture.ts";

const bench = new ConnectionBench();

/** A connection that published so many messages. */
function publisher(uid: number, published: number): Connection {
  const connection = bench.connect(1, uid);
  connection.counters.published = published;
  return connection;
}

describe("Statistics", () => {
  test("adds those that are open to those that are gone", () => {
    const statistics = new Statistics();
    statistics.fold(publisher(7, 3));
    const open = [publisher(7, 4), publisher(8, 5)];
    expect(statistics.total(open)).toMatchObject({ open: 2, gone: 1, figures: { published: 12 } });
    const byUid = statistics.byUid(open);
    expect(byUid.get(7)).toMatchObject({ open: 1, gone: 1, figures: { published: 7 } });
    expect(byUid.get(8)).toMatchObject({ open: 1, gone: 0, figures: { published: 5 } });
    expect(statistics.byUid([]).get(7)).toMatchObject({ open: 0, figures: { published: 3 } });
  });

  test("counts what SYNC has reported, too", () => {
    const connection = publisher(7, 3);
    connection.takeCounters();
    connection.counters.published += 2;
    expect(new Statistics().total([connection]).figures.published).toBe(5);
  });

  test("keeps the latest users apart, and loses nothing of the others", () => {
    const statistics = new Statistics();
    const users = 2 * FOLDED_SUMS_MAX;
    for (let uid = 1; uid <= users; uid += 1) statistics.fold(publisher(uid, uid));
    statistics.fold(publisher(1, 1));
    const sums = statistics.byUid([]);
    expect(sums.size).toBe(FOLDED_SUMS_MAX + 1);
    expect(sums.get(users)?.figures.published).toBe(users);
    expect(sums.get(2)).toBeUndefined();
    let published = 0;
    for (const { figures } of sums.values()) published += figures.published;
    expect(published).toBe((users * (users + 1)) / 2 + 1);
    expect(sums.get(OTHERS)?.gone).toBe(users + 1 - FOLDED_SUMS_MAX);
  });

  test("counts events by type and endings by code", () => {
    const statistics = new Statistics();
    const told: string[] = [];
    const note = statistics.counting(({ type }) => void told.push(type));
    const identity = { uid: 7, gid: 7, pid: 1, groups: [] };
    note({ type: "connected", connection: 1, identity });
    const code = "LIMIT_CONTROL_QUEUE" as const;
    note({
      type: "disconnected",
      connection: 1,
      identity,
      code,
      message: "it does not read",
      lost: 0,
    });
    expect(statistics.events).toEqual({ connected: 1, disconnected: 1 });
    expect(statistics.endings).toEqual({ [code]: 1 });
    expect(told).toEqual(["connected", "disconnected"]);
  });
});
