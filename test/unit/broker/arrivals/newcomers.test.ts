import { expect, test } from "bun:test";
import {
  NEWCOMERS_AT_ONCE,
  NEWCOMERS_KNOWN_MAX,
  NEWCOMERS_PER_SECOND,
  NEWCOMERS_WAITING_MAX,
} from "../../../../src/broker/arrivals/limits.ts";
import { Newcomers, type Reception } from "../../../../src/broker/arrivals/newcomers.ts";

const CROWD = 1000;
const OTHER = 1001;
const WAITING_MAX = 4 * NEWCOMERS_WAITING_MAX;
const INTERVAL_MS = 1_000 / NEWCOMERS_PER_SECOND;

/** So many newcomers of one user at one time, with fds from 1 on. @returns the answers, counted */
function crowd(newcomers: Newcomers, count: number, now: number): Record<Reception, number> {
  const answers = { LET_IN: 0, WAIT: 0, TURN_AWAY: 0 };
  for (let fd = 1; fd <= count; fd += 1) answers[newcomers.receive(CROWD, fd, now)] += 1;
  return answers;
}

test("Newcomers lets in NEWCOMERS_AT_ONCE, lets some more wait and turns the others away", () => {
  const newcomers = new Newcomers(WAITING_MAX);
  expect(crowd(newcomers, NEWCOMERS_AT_ONCE + NEWCOMERS_WAITING_MAX + 3, 5_000)).toEqual({
    LET_IN: NEWCOMERS_AT_ONCE,
    WAIT: NEWCOMERS_WAITING_MAX,
    TURN_AWAY: 3,
  });
});

test("Newcomers gives those who wait back at the pace of NEWCOMERS_PER_SECOND, oldest first", () => {
  const newcomers = new Newcomers(WAITING_MAX);
  crowd(newcomers, NEWCOMERS_AT_ONCE + 2, 0);
  expect(newcomers.deadline()).toBe(INTERVAL_MS);
  expect(newcomers.shift(INTERVAL_MS - 1)).toBe(-1);
  expect(newcomers.shift(INTERVAL_MS)).toBe(NEWCOMERS_AT_ONCE + 1);
  expect(newcomers.shift(INTERVAL_MS)).toBe(-1);
  expect(newcomers.shift(2 * INTERVAL_MS)).toBe(NEWCOMERS_AT_ONCE + 2);
  expect(newcomers.deadline()).toBe(Number.POSITIVE_INFINITY);
});

test("Newcomers lets nobody pass those of the same user who wait", () => {
  const newcomers = new Newcomers(WAITING_MAX);
  crowd(newcomers, NEWCOMERS_AT_ONCE + 1, 0);
  expect(newcomers.receive(CROWD, 7_777, 60_000)).toBe("WAIT");
  expect(newcomers.shift(60_000)).toBe(NEWCOMERS_AT_ONCE + 1);
  expect(newcomers.shift(60_000)).toBe(7_777);
});

test("Newcomers lets another user in while a crowd waits", () => {
  const newcomers = new Newcomers(WAITING_MAX);
  crowd(newcomers, NEWCOMERS_AT_ONCE + NEWCOMERS_WAITING_MAX + 1, 0);
  expect(newcomers.receive(OTHER, 1, 0)).toBe("LET_IN");
});

test("Newcomers takes users in turn where several wait", () => {
  const newcomers = new Newcomers(WAITING_MAX);
  crowd(newcomers, NEWCOMERS_AT_ONCE + 2, 0);
  for (let count = 0; count < NEWCOMERS_AT_ONCE; count += 1) newcomers.receive(OTHER, 1, 0);
  newcomers.receive(OTHER, 9_999, 0);
  const given = [0, 1, 2].map(() => newcomers.shift(1_000));
  expect(given).toEqual([NEWCOMERS_AT_ONCE + 1, 9_999, NEWCOMERS_AT_ONCE + 2]);
});

test("Newcomers lets in as many as at first after a quiet time, and no more", () => {
  const newcomers = new Newcomers(WAITING_MAX);
  crowd(newcomers, NEWCOMERS_AT_ONCE, 0);
  const { LET_IN } = crowd(newcomers, NEWCOMERS_AT_ONCE + 1, 3_600_000);
  expect(LET_IN).toBe(NEWCOMERS_AT_ONCE);
});

test("Newcomers remembers a user who came lately, however many others come after", () => {
  const newcomers = new Newcomers(WAITING_MAX);
  crowd(newcomers, NEWCOMERS_AT_ONCE, 0);
  for (let uid = 0; uid < 3 * NEWCOMERS_KNOWN_MAX; uid += 1) newcomers.receive(10_000 + uid, 1, 1);
  expect(newcomers.receive(CROWD, 1, 1)).toBe("WAIT");
});

test("Newcomers.takeAll() gives back all who wait, once", () => {
  const newcomers = new Newcomers(WAITING_MAX);
  crowd(newcomers, NEWCOMERS_AT_ONCE + 2, 0);
  const all = [1, 2].map((more) => ({ fd: NEWCOMERS_AT_ONCE + more, uid: CROWD }));
  expect(newcomers.takeAll()).toEqual(all);
  expect(newcomers.takeAll()).toEqual([]);
  expect(newcomers.shift(1e9)).toBe(-1);
});

test("Newcomers of all users together wait up to a limit, which others leave again", () => {
  const newcomers = new Newcomers(2);
  for (const uid of [1, 2, 3]) {
    for (let count = 0; count < NEWCOMERS_AT_ONCE; count += 1) newcomers.receive(uid, 1, 0);
  }
  const answers = [1, 2, 3].map((uid) => newcomers.receive(uid, uid, 0));
  expect(answers).toEqual(["WAIT", "WAIT", "TURN_AWAY"]);
  expect(newcomers.shift(INTERVAL_MS)).toBe(1);
  expect(newcomers.receive(1, 4, INTERVAL_MS)).toBe("WAIT");
  expect(newcomers.takeAll()).toHaveLength(2);
  expect(newcomers.receive(2, 5, INTERVAL_MS)).not.toBe("TURN_AWAY");
});
