import { beforeEach, describe, expect, test } from "bun:test";
import type { ClosingLane } from "../../../../src/broker/closing/closing-thread.ts";
import { FdCloser } from "../../../../src/broker/closing/fd-closer.ts";
import {
  CLOSE_STUCK_MS,
  CLOSING_DRAIN_MS,
  CLOSING_GRACE_MS,
  CLOSING_LANES_MAX,
  CLOSING_LOOK_MS,
  CLOSING_RETRY_MS,
  CLOSING_RING_FDS,
  FDS_CLOSING_PER_UID_MAX,
} from "../../../../src/broker/closing/limits.ts";
import type { BrokerEvent } from "../../../../src/broker/events.ts";

const ALICE = 1000;
const BOB = 2000;
/** Fds below it close at once. */
const HAZARDS_START = 100;

/** A lane that closes what it is told to. */
class SimulatedLane implements ClosingLane {
  readonly fds: number[] = [];
  readonly closed: number[] = [];
  isEnded = false;
  hasFailed = false;

  get open(): number {
    return this.fds.length;
  }

  push(fd: number): void {
    if (this.fds.length >= CLOSING_RING_FDS) throw new Error("the lane is full");
    this.fds.push(fd);
  }

  finish(count = this.fds.length): void {
    this.closed.push(...this.fds.splice(0, count));
  }

  takeBack(): number[] {
    return this.fds.splice(0);
  }

  end(): void {
    this.isEnded = true;
  }
}

let now: number;
let lanes: SimulatedLane[];
let inline: number[];
let events: BrokerEvent[];
let closer: FdCloser;
/** No lane can be opened. */
let lacksLanes: boolean;
let attempts: number;

beforeEach(() => {
  now = 0;
  lanes = [];
  inline = [];
  events = [];
  lacksLanes = false;
  attempts = 0;
  closer = makeCloser();
});

/** @param perUidMax see FdCloser; left out: its default */
function makeCloser(perUidMax?: number): FdCloser {
  return new FdCloser({
    now: () => now,
    onEvent: (event) => events.push(event),
    closesAtOnce: (fd) => fd < HAZARDS_START,
    close: (fd) => inline.push(fd),
    openLane: () => {
      attempts += 1;
      if (lacksLanes) return undefined;
      const lane = new SimulatedLane();
      lanes.push(lane);
      return lane;
    },
    perUidMax,
  });
}

function lane(index: number): SimulatedLane {
  const found = lanes[index];
  if (found === undefined) throw new Error(`there is no lane ${index}`);
  return found;
}

function closeMany(count: number, uid: number): void {
  for (let index = 0; index < count; index += 1) closer.close(HAZARDS_START + index, uid);
}

/** Lets time go by and the closer look. */
function pass(milliseconds: number): void {
  now += milliseconds;
  closer.settle();
}

describe("FdCloser.deadline()", () => {
  test("is soon where a user may have no more pending, though a lane has them all", () => {
    closer = makeCloser(3);
    closeMany(2, ALICE);
    expect(closer.deadline()).toBe(CLOSE_STUCK_MS);
    closeMany(1, ALICE);
    expect(closer.isFull(ALICE)).toBe(true);
    expect(closer.deadline()).toBe(CLOSING_LOOK_MS);
    lane(0).finish(1);
    pass(CLOSING_LOOK_MS);
    expect(closer.isFull(ALICE)).toBe(false);
  });
});

describe("FdCloser.overdueOf()", () => {
  test("counts what has been pending for CLOSING_GRACE_MS, and nothing that came since", () => {
    closeMany(3, ALICE);
    pass(CLOSING_GRACE_MS);
    expect(closer.overdueOf(ALICE)).toBe(0);
    closeMany(2, ALICE);
    pass(CLOSING_GRACE_MS);
    expect(closer.overdueOf(ALICE)).toBe(3);
    lane(0).finish(2);
    pass(1);
    expect([closer.overdueOf(ALICE), closer.pendingOf(ALICE)]).toEqual([1, 3]);
    lane(0).finish();
    pass(1);
    expect(closer.overdueOf(ALICE)).toBe(0);
  });

  test("is 0 for who always has some pending that close in time", () => {
    for (let round = 0; round < 10; round += 1) {
      closeMany(5, ALICE);
      pass(CLOSING_GRACE_MS / 2);
      expect(closer.overdueOf(ALICE)).toBe(0);
      closeMany(5, ALICE);
      lane(0).finish(5);
      pass(CLOSING_GRACE_MS / 2);
      expect(closer.overdueOf(ALICE)).toBe(0);
      lane(0).finish(5);
    }
  });
});

describe("FdCloser.close()", () => {
  test("closes what closes at once in place, and starts no lane for it", () => {
    closer.close(7, ALICE);
    expect(inline).toEqual([7]);
    expect(lanes).toEqual([]);
    expect(closer.pending).toBe(0);
    expect(closer.deadline()).toBe(Number.POSITIVE_INFINITY);
  });

  test("hands anything else to a lane, and counts it as its user's until it is closed", () => {
    closeMany(3, ALICE);
    expect(inline).toEqual([]);
    expect(lane(0).fds).toEqual([100, 101, 102]);
    expect(closer.pendingOf(ALICE)).toBe(3);
    lane(0).finish(2);
    closer.settle();
    expect(closer.pendingOf(ALICE)).toBe(1);
    lane(0).finish();
    closer.settle();
    expect([closer.pending, closer.pendingOf(ALICE)]).toEqual([0, 0]);
  });

  test("uses the lane of one user for the next when it is free", () => {
    closer.close(100, ALICE);
    lane(0).finish();
    closer.settle();
    closer.close(101, BOB);
    expect(lane(0).fds).toEqual([101]);
    expect(lanes).toHaveLength(1);
  });

  test("lets another user wait for a lane that may become free", () => {
    closer.close(100, ALICE);
    closer.close(101, BOB);
    expect(lanes).toHaveLength(1);
    expect(closer.deadline()).toBe(CLOSING_LOOK_MS);
    lane(0).finish();
    pass(CLOSING_LOOK_MS);
    expect(lane(0).fds).toEqual([101]);
    expect(lanes).toHaveLength(1);
  });

  test("opens another user a lane where the first one hangs", () => {
    closer.close(100, ALICE);
    closer.close(101, BOB);
    pass(CLOSING_LOOK_MS);
    expect(lane(1).fds).toEqual([101]);
    lane(1).finish();
    closer.settle();
    expect([closer.pendingOf(ALICE), closer.pendingOf(BOB)]).toEqual([1, 0]);
  });

  test("opens no more than CLOSING_LANES_MAX lanes; then users wait for one", () => {
    for (let uid = 1; uid <= CLOSING_LANES_MAX + 1; uid += 1) {
      closer.close(HAZARDS_START + uid, uid);
      pass(CLOSING_LOOK_MS);
    }
    expect(lanes).toHaveLength(CLOSING_LANES_MAX);
    const last = CLOSING_LANES_MAX + 1;
    expect(closer.pendingOf(last)).toBe(1);
    lane(2).finish();
    pass(CLOSING_LOOK_MS);
    expect(lane(2).fds).toEqual([HAZARDS_START + last]);
  });

  test("gives a lane to who has waited longest after CLOSING_RING_FDS of a user's", () => {
    closeMany(CLOSING_RING_FDS + 5, ALICE);
    closer.close(9_999, BOB);
    lane(0).finish();
    closer.settle();
    expect(lane(0).fds).toEqual([9_999]);
    lane(0).finish();
    closer.settle();
    expect(lane(0).fds).toHaveLength(5);
    lane(0).finish();
    closer.settle();
    expect(closer.pending).toBe(0);
    expect(lane(0).closed).toHaveLength(CLOSING_RING_FDS + 6);
  });

  test("never leaves out an fd, whatever comes when", () => {
    const wanted: number[] = [];
    for (let step = 0; step < 2_000; step += 1) {
      const fd = HAZARDS_START + step;
      wanted.push(fd);
      closer.close(fd, step % 7);
      if (step % 3 === 0) for (const each of lanes) each.finish(step % 5);
      if (step % 11 === 0) pass(CLOSING_LOOK_MS / 2);
    }
    while (closer.pending > 0) {
      for (const each of lanes) each.finish();
      pass(1);
    }
    const closed = lanes.flatMap((each) => each.closed);
    expect(closed.sort((a, b) => a - b)).toEqual(wanted);
    expect(closer.deadline()).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("a close that hangs", () => {
  test("is told once, with what is pending of the user", () => {
    closeMany(3, ALICE);
    expect(closer.deadline()).toBe(CLOSE_STUCK_MS);
    pass(CLOSE_STUCK_MS - 1);
    expect(events).toEqual([]);
    pass(1);
    pass(CLOSE_STUCK_MS);
    expect(events).toEqual([{ type: "fd-close-stuck", uid: ALICE, count: 3 }]);
    expect(closer.deadline()).toBe(Number.POSITIVE_INFINITY);
  });

  test("is told again where the next one hangs, too", () => {
    closeMany(3, ALICE);
    pass(CLOSE_STUCK_MS);
    lane(0).finish(1);
    pass(0);
    pass(CLOSE_STUCK_MS);
    expect(events.map((event) => event.type === "fd-close-stuck" && event.count)).toEqual([3, 2]);
  });

  test("makes its user stuck once it is full, and nobody else", () => {
    closeMany(FDS_CLOSING_PER_UID_MAX - 1, ALICE);
    pass(CLOSE_STUCK_MS);
    expect([closer.isFull(ALICE), closer.isStuck(ALICE)]).toEqual([false, false]);
    closer.close(HAZARDS_START, ALICE);
    expect([closer.isFull(ALICE), closer.isStuck(ALICE)]).toEqual([true, true]);
    expect([closer.isFull(BOB), closer.isStuck(BOB)]).toEqual([false, false]);
  });

  test("a user that only waits behind others that hang is not stuck", () => {
    for (let uid = 1; uid <= CLOSING_LANES_MAX; uid += 1) {
      closeMany(1, 10_000 + uid);
      pass(CLOSING_LOOK_MS);
    }
    closeMany(FDS_CLOSING_PER_UID_MAX, BOB);
    pass(CLOSE_STUCK_MS);
    expect([closer.isFull(BOB), closer.isStuck(BOB)]).toEqual([true, false]);
  });

  test("a user that is full but gets on is not stuck", () => {
    closeMany(FDS_CLOSING_PER_UID_MAX + 1, ALICE);
    pass(CLOSE_STUCK_MS - 1);
    lane(0).finish(1);
    pass(1);
    expect([closer.isFull(ALICE), closer.isStuck(ALICE)]).toEqual([true, false]);
  });
});

describe("a closer that can open no lane", () => {
  test("keeps all fds, is starved, and tries again every CLOSING_RETRY_MS", () => {
    lacksLanes = true;
    closeMany(2, ALICE);
    closer.close(200, BOB);
    expect([closer.isStarved, closer.pendingOf(ALICE), attempts]).toEqual([true, 2, 1]);
    expect(closer.deadline()).toBe(CLOSING_RETRY_MS);
    pass(CLOSING_RETRY_MS - 1);
    expect(attempts).toBe(1);
    pass(1);
    expect(attempts).toBe(2);
    lacksLanes = false;
    pass(CLOSING_RETRY_MS);
    expect(closer.isStarved).toBe(false);
    expect(lane(0).fds).toEqual([100, 101]);
    lane(0).finish();
    pass(1);
    lane(0).finish();
    pass(1);
    expect(lane(0).closed).toEqual([100, 101, 200]);
    expect(closer.pending).toBe(0);
  });

  test("holds back who has sent too many, and says of nobody that it is stuck", () => {
    lacksLanes = true;
    closeMany(FDS_CLOSING_PER_UID_MAX, ALICE);
    pass(CLOSE_STUCK_MS);
    expect([closer.isFull(ALICE), closer.isStuck(ALICE), closer.isFull(BOB)]).toEqual([
      true,
      false,
      false,
    ]);
  });

  test("uses those it has, and is not starved then", () => {
    closer.close(100, ALICE);
    lacksLanes = true;
    closer.close(101, BOB);
    pass(CLOSING_LOOK_MS);
    expect([closer.isStarved, attempts]).toEqual([false, 2]);
    lane(0).finish();
    pass(1);
    expect(lane(0).fds).toEqual([101]);
  });
});

describe("a lane that fails before it closes any", () => {
  test("gives back what it was handed, which another one closes, first and once", () => {
    closeMany(3, ALICE);
    closeMany(CLOSING_RING_FDS, ALICE);
    lane(0).hasFailed = true;
    pass(1);
    expect([closer.isStarved, closer.pending]).toEqual([true, CLOSING_RING_FDS + 3]);
    pass(CLOSING_RETRY_MS);
    expect(lane(1).fds.slice(0, 4)).toEqual([100, 101, 102, 100]);
    lane(1).finish();
    pass(1);
    lane(1).finish();
    pass(1);
    expect([closer.pending, lane(1).closed.length]).toEqual([0, CLOSING_RING_FDS + 3]);
    expect([lane(0).closed, closer.deadline()]).toEqual([[], Number.POSITIVE_INFINITY]);
  });

  test("costs no other user its turn", () => {
    closer.close(100, ALICE);
    closer.close(200, BOB);
    lane(0).hasFailed = true;
    pass(CLOSING_RETRY_MS);
    pass(CLOSING_RETRY_MS);
    lane(1).finish();
    pass(1);
    lane(1).finish();
    pass(1);
    expect(lane(1).closed).toEqual([100, 200]);
    expect([closer.pendingOf(ALICE), closer.pendingOf(BOB)]).toEqual([0, 0]);
  });
});

describe("FdCloser.end()", () => {
  test("waits for what is about to be closed, and ends the lanes", async () => {
    closer.close(100, ALICE);
    const ended = closer.end();
    lane(0).finish();
    await ended;
    expect(closer.pending).toBe(0);
    expect(lane(0).isEnded).toBe(true);
    expect(events).toEqual([]);
  });

  test("does not wait for what hangs, and tells of it", async () => {
    closeMany(2, ALICE);
    const ended = closer.end();
    now += CLOSING_DRAIN_MS;
    await ended;
    expect(lane(0).isEnded).toBe(true);
    expect(events).toEqual([{ type: "fd-close-stuck", uid: ALICE, count: 2 }]);
  });
});
