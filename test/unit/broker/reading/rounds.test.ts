import { beforeEach, expect, test } from "bun:test";
import type { Connection } from "../../../../src/broker/connection.ts";
import type { PacketRests } from "../../../../src/broker/reading/packet-rests.ts";
import { Rounds } from "../../../../src/broker/reading/rounds.ts";
import { HAS_REST, UserTurns } from "../../../../src/broker/reading/user-turns.ts";
import { READING_MS_PER_USER } from "../../../../src/broker/turn-limits.ts";
import { EPOLLIN, EPOLLOUT } from "../../../../src/ffi/constants.ts";
import { ConnectionBench } from "../connection-fixture.ts";

let clock: number;
let turns: UserTurns;
/** Who has something left of earlier turns. */
let resting: Set<Connection>;
/** What happened to whom, in order. */
let seen: string[];
/** Milliseconds that flushAll() takes. */
let flushMs: number;
/** Milliseconds that reading takes, by connection id. */
let readMs: Map<number, number>;
let rounds: Rounds;
let connections: ConnectionBench;

beforeEach(() => {
  clock = 0;
  turns = new UserTurns();
  resting = new Set();
  seen = [];
  flushMs = 0;
  readMs = new Map();
  connections = new ConnectionBench();
  const rests = { has: (one: Connection) => resting.has(one), onPushed: () => {} };
  rounds = new Rounds({
    turns,
    rests: rests as unknown as PacketRests,
    reading: { goOn: (one) => seen.push(`goes on ${one.id}`) },
    watch: { setAwaitingTurn: () => {} },
    flusher: {
      flush: (one) => seen.push(`flush ${one.id}`),
      flushAll: () => {
        clock += flushMs;
      },
    },
    host: {
      ready: (one) => {
        seen.push(`read ${one.id}`);
        clock += readMs.get(one.id) ?? 0;
      },
    },
    now: () => clock,
  });
});

function connect(id: number, uid: number): Connection {
  const connection = connections.connect(id, uid);
  connection.userTurn = turns.enter(uid);
  return connection;
}

test("Rounds.note() sends what waits for a client also while work is left of what it said", () => {
  const connection = connect(1, 1);
  resting.add(connection);
  turns.note(connection, HAS_REST);
  rounds.note(connection, EPOLLIN | EPOLLOUT);
  expect(seen).toEqual(["flush 1"]);
  rounds.run();
  expect(seen).toEqual(["flush 1", "goes on 1"]);
});

test("Rounds.note() gives nobody a turn whose socket has room and nothing to say", () => {
  rounds.note(connect(1, 1), EPOLLOUT);
  expect([seen, turns.isEmpty]).toEqual([["flush 1"], true]);
});

test("Rounds.note() does nothing for a connection that has ended", () => {
  const connection = connect(1, 1);
  connection.state = "DOOMED";
  rounds.note(connection, EPOLLIN | EPOLLOUT);
  expect([seen, turns.isEmpty]).toEqual([[], true]);
});

test("Rounds.run() charges what a user's messages take to leave to that user, and not to the next", () => {
  const [wide, next] = [connect(1, 1), connect(2, 2)];
  readMs = new Map([
    [1, READING_MS_PER_USER / 10],
    [2, READING_MS_PER_USER / 10],
  ]);
  flushMs = 10 * READING_MS_PER_USER;
  rounds.note(wide, EPOLLIN);
  rounds.note(next, EPOLLIN);
  rounds.run();
  expect(wide.userTurn?.timeLeft).toBeLessThan(-8 * READING_MS_PER_USER);
  expect(next.userTurn?.timeLeft).toBeGreaterThan(0);
});
