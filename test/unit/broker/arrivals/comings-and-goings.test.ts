import { expect, test } from "bun:test";
import { ComingsAndGoings } from "../../../../src/broker/arrivals/comings-and-goings.ts";
import { EPOLLHUP, EPOLLIN } from "../../../../src/ffi/constants.ts";
import { ConnectionBench } from "../connection-fixture.ts";

/** Notes what is done; there is always somebody to accept. */
function start() {
  const bench = new ConnectionBench();
  const done: string[] = [];
  const work = new ComingsAndGoings({
    accept: () => {
      done.push("accept");
      return true;
    },
    ready: ({ id }) => done.push(`ready ${id}`),
  });
  const newcomer = (id: number) => {
    const connection = bench.connect(id);
    connection.state = "AWAIT_HELLO";
    return connection;
  };
  return { bench, done, work, newcomer };
}

/** Has time for so many things more after each first one. */
function timeFor(count: number): () => boolean {
  let left = count;
  return () => {
    left -= 1;
    return left > 0;
  };
}

test("ComingsAndGoings puts off those who were not welcomed and those who have gone, nobody else", () => {
  const { bench, done, work, newcomer } = start();
  expect(work.note(bench.connect(1), EPOLLIN)).toBe(false);
  expect(work.note(newcomer(2), EPOLLIN)).toBe(true);
  expect(work.note(bench.connect(3), EPOLLIN | EPOLLHUP)).toBe(true);
  expect(done).toEqual([]);
  work.run(() => true);
  expect(done).toEqual(["ready 2", "ready 3"]);
});

test("ComingsAndGoings spends nothing on those who are being buried", () => {
  const { bench, done, work, newcomer } = start();
  const doomed = bench.connect(1);
  doomed.state = "DOOMED";
  expect(work.note(doomed, EPOLLHUP)).toBe(true);
  work.note(newcomer(2), EPOLLIN);
  work.run(() => false);
  expect(done).toEqual(["ready 2"]);
});

test("ComingsAndGoings does one thing where there is no time, and forgets the rest", () => {
  const { done, work, newcomer } = start();
  work.note(newcomer(1), EPOLLIN);
  work.note(newcomer(2), EPOLLIN);
  work.run(() => false);
  expect(done).toEqual(["ready 1"]);
  work.run(() => true);
  expect(done).toEqual(["ready 1"]);
});

test("ComingsAndGoings accepts and welcomes by turns, also where each call has time for one", () => {
  const { done, work, newcomer } = start();
  for (let turn = 0; turn < 4; turn += 1) {
    work.note(newcomer(turn), EPOLLIN);
    work.noteListener();
    work.run(() => false);
  }
  expect(done.filter((what) => what === "accept")).toHaveLength(2);
});

test("ComingsAndGoings lets no crowd of those who have gone keep those waiting who come", () => {
  const { bench, done, work, newcomer } = start();
  for (let turn = 0; turn < 3; turn += 1) {
    work.noteListener();
    for (const id of [1, 2, 3]) work.note(bench.connect(10 * turn + id), EPOLLHUP);
    work.note(newcomer(10 * turn + 4), EPOLLIN);
    work.run(() => false);
  }
  expect(done).toEqual(["accept", "ready 14", "ready 21"]);
});

test("ComingsAndGoings goes on accepting while there is time", () => {
  const { done, work } = start();
  work.noteListener();
  work.run(timeFor(3));
  expect(done).toEqual(["accept", "accept", "accept"]);
});

test("ComingsAndGoings accepts nobody where nobody came", () => {
  const { done, work } = start();
  work.run(() => true);
  expect(done).toEqual([]);
});
