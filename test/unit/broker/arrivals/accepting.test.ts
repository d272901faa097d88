import { expect, test } from "bun:test";
import { Accepting, type AcceptingParts } from "../../../../src/broker/arrivals/accepting.ts";
import { DOOR_SHUT_MS, TURNED_AWAY_AT_ONCE } from "../../../../src/broker/arrivals/limits.ts";
import { WOULD_BLOCK } from "../../../../src/ffi/syscall-result.ts";

/** A door with so many at it, and so many who wait to be let in. */
function start(atDoor: number, waiting: number): { accepting: Accepting; done: string[] } {
  const done: string[] = [];
  const left = { atDoor, waiting };
  const parts = {
    listener: {
      fd: 3,
      accept: () => {
        if (left.atDoor === 0) return WOULD_BLOCK;
        left.atDoor -= 1;
        return 7;
      },
    },
    watch: { watchListener: () => {} },
    spareFds: { areShort: false },
    reception: {
      deadline: () => 0,
      receive: () => done.push("door"),
      seeOffNext: () => false,
      letInNext: () => {
        if (left.waiting === 0) return false;
        left.waiting -= 1;
        done.push("waiter");
        return true;
      },
    },
    adopt: () => {},
    now: () => 0,
    onEvent: () => {},
  };
  return { accepting: new Accepting(parts as unknown as AcceptingParts), done };
}

test("Accepting.accept() asks those who wait and those at the door in turn", () => {
  const { accepting, done } = start(2, 2);
  for (let turn = 0; turn < 4; turn += 1) expect(accepting.accept()).toBe(true);
  expect(done).toEqual(["waiter", "door", "waiter", "door"]);
  expect(accepting.accept()).toBe(false);
});

test("Accepting.accept() shuts the door for a moment on a crowd, and not on those who wait", () => {
  const crowd = {
    isPaused: false,
    now: 0,
    accepted: 0,
    waiting: 2,
    accept() {
      this.accepted += 1;
      return 7;
    },
  };
  const parts = {
    listener: { fd: 3, accept: () => crowd.accept() },
    watch: {
      watchListener: () => {},
      setListenerPaused: (_fd: number, isPaused: boolean) => {
        crowd.isPaused = isPaused;
      },
    },
    spareFds: { areShort: false },
    reception: {
      deadline: () => Number.POSITIVE_INFINITY,
      receive: () => "TURN_AWAY",
      seeOffNext: () => false,
      letInNext: () => {
        crowd.waiting -= 1;
        return crowd.waiting >= 0;
      },
    },
    now: () => crowd.now,
  };
  const accepting = new Accepting(parts as unknown as AcceptingParts);
  for (let count = 0; accepting.accept(); count += 1) expect(count).toBeLessThan(100);
  expect(crowd.accepted).toBe(TURNED_AWAY_AT_ONCE);
  expect(crowd.waiting).toBeLessThan(0);
  expect(crowd.isPaused).toBe(true);
  expect(accepting.deadline()).toBe(DOOR_SHUT_MS);
  accepting.resumeIfDue();
  expect(crowd.isPaused).toBe(true);
  crowd.now = DOOR_SHUT_MS;
  accepting.resumeIfDue();
  expect(crowd.isPaused).toBe(false);
  expect(accepting.accept()).toBe(true);
});

test("Accepting.accept() misses nobody where only one of both is there", () => {
  const waiters = start(0, 3);
  const comers = start(3, 0);
  for (const { accepting } of [waiters, comers]) {
    for (let turn = 0; turn < 3; turn += 1) expect(accepting.accept()).toBe(true);
    expect(accepting.accept()).toBe(false);
  }
  expect(waiters.done).toEqual(["waiter", "waiter", "waiter"]);
  expect(comers.done).toEqual(["door", "door", "door"]);
});
