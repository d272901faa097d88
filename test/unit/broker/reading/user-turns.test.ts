import { expect, test } from "bun:test";
import type { Connection } from "../../../../src/broker/connection.ts";
import { type UserTurn, UserTurns } from "../../../../src/broker/reading/user-turns.ts";
import { READING_MS_ALONE, READING_MS_PER_USER } from "../../../../src/broker/turn-limits.ts";
import { EPOLLIN } from "../../../../src/ffi/constants.ts";
import { RandomNumbers } from "../../../support/random-numbers.ts";
import { ConnectionBench } from "../connection-fixture.ts";

const CROWD_UID = 1;
const QUIET_UID = 2;

/** Fractions of 1, the same for the same seed. */
function fractions(seed: number): () => number {
  const numbers = new RandomNumbers(seed);
  return () => numbers.below(1_000) / 1_000;
}

/** Turns of connections that all take as long as they are told to. */
class TurnsBench {
  readonly turns = new UserTurns();
  readonly #connections = new ConnectionBench();
  #lastId = 0;
  /** Milliseconds. */
  clock = 0;

  constructor() {
    // Somebody who says nothing: a user alone has more time.
    this.turns.enter(0);
  }

  connect(uid: number): Connection {
    this.#lastId += 1;
    const connection = this.#connections.connect(this.#lastId, uid);
    connection.userTurn = this.turns.enter(uid);
    return connection;
  }

  crowd(uid: number, count: number): Connection[] {
    return Array.from({ length: count }, () => this.connect(uid));
  }

  /** Runs a round. @param costOf milliseconds that serving takes @returns who was served */
  round(costOf: (connection: Connection) => number): Connection[] {
    const served: Connection[] = [];
    this.turns.beginRound();
    for (;;) {
      const connection = this.turns.next(this.clock);
      if (connection === undefined) return served;
      connection.readyEvents = 0;
      served.push(connection);
      const cost = costOf(connection);
      this.clock += cost;
      this.turns.charge(cost);
    }
  }
}

test("UserTurns.next() gives the connections of one user in the order in which they were noted", () => {
  const bench = new TurnsBench();
  const connections = bench.crowd(CROWD_UID, 5);
  for (const each of connections) bench.turns.note(each, EPOLLIN);
  for (const each of connections) bench.turns.note(each, EPOLLIN);
  expect(bench.round(() => 0)).toEqual(connections);
  expect(bench.turns.isEmpty).toBe(true);
});

test("UserTurns.next() gives nobody twice a share in one round, and goes on in the next", () => {
  const bench = new TurnsBench();
  const connections = bench.crowd(CROWD_UID, 10);
  for (const each of connections) bench.turns.note(each, EPOLLIN);
  const first = bench.round(() => 0.26 * READING_MS_PER_USER);
  expect(first).toHaveLength(4);
  expect([...first, ...bench.round(() => 0)]).toEqual(connections);
});

test("UserTurns.next() makes a user wait that has used more than its share", () => {
  const bench = new TurnsBench();
  const others = bench.crowd(QUIET_UID, 5);
  for (const each of [...bench.crowd(CROWD_UID, 2), ...others]) bench.turns.note(each, EPOLLIN);
  const served = others.map(() => {
    const all = bench.round(({ identity: { uid } }) => {
      return (uid === CROWD_UID ? 3.5 : 1) * READING_MS_PER_USER;
    });
    return all.filter(({ identity: { uid } }) => uid === CROWD_UID).length;
  });
  expect(served).toEqual([1, 0, 0, 1, 0]);
});

test("UserTurns.next() makes nobody wait for what it owes while nobody else has anything to say", () => {
  const bench = new TurnsBench();
  for (const each of bench.crowd(CROWD_UID, 5)) bench.turns.note(each, EPOLLIN);
  const served = [1, 2, 3, 4, 5].map(() => bench.round(() => 3.5 * READING_MS_PER_USER).length);
  expect(served).toEqual([1, 1, 1, 1, 1]);
});

test("UserTurns.hasShareLeft() is true for longer where there is one user alone", () => {
  const turns = new UserTurns();
  const connection = new ConnectionBench().connect(1, CROWD_UID);
  connection.userTurn = turns.enter(CROWD_UID);
  for (const share of [READING_MS_ALONE, READING_MS_PER_USER, READING_MS_ALONE]) {
    const other = share === READING_MS_ALONE ? undefined : turns.enter(QUIET_UID);
    turns.note(connection, EPOLLIN);
    turns.beginRound();
    turns.next(0);
    connection.readyEvents = 0;
    expect(turns.hasShareLeft(share * 0.9)).toBe(true);
    expect(turns.hasShareLeft(share * 1.1)).toBe(false);
    turns.next(0);
    if (other !== undefined) turns.leave(other);
  }
});

test("UserTurns.next() gives whoever has used least first", () => {
  const bench = new TurnsBench();
  for (const each of bench.crowd(CROWD_UID, 10)) bench.turns.note(each, EPOLLIN);
  bench.round(() => 0.7 * READING_MS_PER_USER);
  const quiet = bench.connect(QUIET_UID);
  bench.turns.note(quiet, EPOLLIN);
  expect(bench.round(() => READING_MS_PER_USER)[0]).toBe(quiet);
});

test("UserTurns.hasShareLeft() is false once the user's share of the round is used", () => {
  const { turns, ...bench } = new TurnsBench();
  const connection = new ConnectionBench().connect(1, CROWD_UID);
  connection.userTurn = turns.enter(CROWD_UID);
  turns.note(connection, EPOLLIN);
  turns.beginRound();
  turns.next(bench.clock);
  expect(turns.hasShareLeft(bench.clock + READING_MS_PER_USER / 2)).toBe(true);
  expect(turns.hasShareLeft(bench.clock + READING_MS_PER_USER)).toBe(false);
});

test("UserTurns.clear() forgets who had something to say", () => {
  const bench = new TurnsBench();
  const [connection] = bench.crowd(CROWD_UID, 1) as [Connection];
  bench.turns.note(connection, EPOLLIN);
  bench.turns.clear();
  expect(connection.readyEvents).toBe(0);
  expect(bench.round(() => 0)).toEqual([]);
  bench.turns.note(connection, EPOLLIN);
  expect(bench.round(() => 0)).toEqual([connection]);
});

test("UserTurns.note() says that a connection may wait once others of its user were left over", () => {
  const bench = new TurnsBench();
  const [first, second, third] = bench.crowd(CROWD_UID, 3) as [Connection, Connection, Connection];
  const quiet = bench.connect(QUIET_UID);
  expect([first, second].map((each) => bench.turns.note(each, EPOLLIN))).toEqual([false, false]);
  bench.round(() => 1.5 * READING_MS_PER_USER);
  const noted = [second, third, quiet].map((each) => bench.turns.note(each, EPOLLIN));
  expect(noted).toEqual([true, true, false]);
  bench.round(() => 0);
  expect(bench.turns.note(third, EPOLLIN)).toBe(false);
});

for (const size of [1, 64, 4_000]) {
  test(`a quiet user waits for a share of each other user, where these have ${size} connections`, () => {
    const random = fractions(size);
    const bench = new TurnsBench();
    const users = [CROWD_UID, 3, 4];
    const crowd = users.flatMap((uid) => bench.crowd(uid, size));
    const quiet = bench.connect(QUIET_UID);
    // No single packet takes longer than this.
    const costMax = 2 * READING_MS_PER_USER;
    const waits: number[] = [];
    let saidAt = -1;
    for (let round = 0; round < 300; round += 1) {
      for (const each of crowd) bench.turns.note(each, EPOLLIN);
      if (saidAt < 0 && random() < 0.5) {
        saidAt = bench.clock;
        bench.turns.note(quiet, EPOLLIN);
      }
      bench.round((served) => {
        if (served !== quiet) return random() * costMax;
        waits.push(bench.clock - saidAt);
        saidAt = -1;
        return READING_MS_PER_USER / 10;
      });
    }
    expect(waits.length).toBeGreaterThan(50);
    expect(Math.max(...waits)).toBeLessThanOrEqual(users.length * (READING_MS_PER_USER + costMax));
  });
}

test("users who all have much to say get the same time, however many connections each has", () => {
  const random = fractions(7);
  const bench = new TurnsBench();
  const crowds = [8, 100, 1_000].map((size, uid) => bench.crowd(uid, size));
  const used = [0, 0, 0];
  for (let round = 0; round < 2_000; round += 1) {
    for (const each of crowds.flat()) bench.turns.note(each, EPOLLIN);
    bench.round(({ identity: { uid } }) => {
      const cost = random() * (uid + 1) * READING_MS_PER_USER;
      used[uid] = (used[uid] ?? 0) + cost;
      return cost;
    });
  }
  expect(Math.max(...used) / Math.min(...used)).toBeLessThan(1.05);
});

test("gives each of a thousand users its turn in one round, and none a second one beyond its share", () => {
  const bench = new TurnsBench();
  const all = Array.from({ length: 1_000 }, (_, index) => bench.connect(index + 1));
  for (const one of all) bench.turns.note(one, EPOLLIN);
  bench.turns.beginRound();
  const served: Connection[] = [];
  for (let next = bench.turns.next(0); next !== undefined; next = bench.turns.next(0)) {
    next.readyEvents = 0;
    served.push(next);
    bench.turns.charge(2 * READING_MS_PER_USER);
    bench.turns.note(next, EPOLLIN);
  }
  expect(served.length).toBe(all.length);
  expect(new Set(served)).toEqual(new Set(all));
});

test("remembers what a user took between the turns, however long it had been silent before", () => {
  const bench = new TurnsBench();
  const one = bench.connect(1);
  for (let round = 0; round < 10; round += 1) bench.turns.beginRound();
  bench.turns.chargeTo(one.userTurn as UserTurn, 3 * READING_MS_PER_USER);
  expect(one.userTurn?.timeLeft).toBeCloseTo(-2 * READING_MS_PER_USER, 9);
});
