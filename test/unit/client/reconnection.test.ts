import { describe, expect, test } from "bun:test";
import { BackOff, isFinal, planReconnect } from "../../../src/client/reconnection.ts";
import {
  ArgumentError,
  ClosedError,
  LimitError,
  ProtocolError,
  RejectedError,
  SyscallError,
  TimeoutError,
} from "../../../src/errors.ts";

const PLAN = { minDelayMs: 50, maxDelayMs: 5_000, maxAttempts: Number.POSITIVE_INFINITY };

/** Random numbers of a seed, so that a failure can be seen again. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function delaysOf(backOff: BackOff, count: number): (number | undefined)[] {
  return Array.from({ length: count }, () => backOff.nextDelayMs());
}

describe("BackOff.nextDelayMs()", () => {
  test("doubles its ceiling up to maxDelayMs", () => {
    const backOff = new BackOff(PLAN, () => 1);
    const ceilings = [50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000];
    expect(delaysOf(backOff, 9)).toEqual(ceilings);
    expect(backOff.attempts).toBe(9);
  });

  test("takes any part of the ceiling, down to nothing", () => {
    expect(delaysOf(new BackOff(PLAN, () => 0), 3)).toEqual([0, 0, 0]);
    expect(delaysOf(new BackOff(PLAN, () => 0.5), 3)).toEqual([25, 50, 100]);
  });

  test("stays at the ceiling for as long as it takes", () => {
    const backOff = new BackOff(PLAN, () => 1);
    expect(delaysOf(backOff, 5_000).at(-1)).toBe(5_000);
  });

  test("ends after maxAttempts, and begins again with the next loss", () => {
    const backOff = new BackOff({ ...PLAN, maxAttempts: 2 }, () => 1);
    expect(delaysOf(backOff, 3)).toEqual([50, 100, undefined]);
    backOff.noteLost(0);
    expect(backOff.nextDelayMs()).toBe(50);
  });

  test("begins small again after a connection that lasted", () => {
    const backOff = new BackOff(PLAN, () => 1);
    delaysOf(backOff, 4);
    backOff.noteConnected(1_000);
    backOff.noteLost(6_000);
    expect(delaysOf(backOff, 2)).toEqual([50, 100]);
  });

  test("goes on from where it was after a connection that did not last", () => {
    const backOff = new BackOff(PLAN, () => 1);
    delaysOf(backOff, 4);
    backOff.noteConnected(1_000);
    backOff.noteLost(5_999);
    expect(delaysOf(backOff, 2)).toEqual([800, 1_600]);
    expect(backOff.attempts).toBe(2);
  });

  test("spreads 200 clients, so that no moment sees many of them", () => {
    const clients = Array.from({ length: 200 }, (_, index) => new BackOff(PLAN, seeded(index * 7)));
    for (let attempt = 0; attempt < 10; attempt += 1) {
      const ceiling = Math.min(5_000, 50 * 2 ** attempt);
      const slots = new Array<number>(20).fill(0);
      for (const client of clients) {
        const slot = Math.floor(((client.nextDelayMs() ?? 0) / ceiling) * slots.length);
        slots[slot] = (slots[slot] ?? 0) + 1;
      }
      // Ten a slot are expected; 30 would be six standard deviations off.
      expect(Math.max(...slots)).toBeLessThan(30);
    }
  });
});

describe("planReconnect()", () => {
  test("is a plan by default, and none for false", () => {
    expect(planReconnect()).toEqual({
      ...PLAN,
      whileDisconnected: "keep",
      keepBytes: 128 * 1024 * 1024,
    });
    expect(planReconnect(true)).toEqual(planReconnect({}));
    expect(planReconnect(false)).toBeUndefined();
  });

  test.each([
    ["minDelayMs", 0],
    ["minDelayMs", Number.NaN],
    ["minDelayMs", Number.POSITIVE_INFINITY],
    ["maxDelayMs", 49],
    ["maxDelayMs", 3_600_001],
    ["maxAttempts", 0],
    ["keepBytes", -1],
    ["whileDisconnected", "wait"],
  ])("refuses %s of %p", (argument, value) => {
    const refused = () => planReconnect({ [argument]: value });
    expect(refused).toThrow(ArgumentError);
    expect(refused).toThrow(argument);
  });
});

describe("isFinal()", () => {
  test("is true of what the next attempt would meet again", () => {
    expect(isFinal(new ProtocolError("PROTOCOL_VERSION", ""))).toBe(true);
    expect(isFinal(new RejectedError("REJECTED_BROKER", "", { status: 0 }))).toBe(true);
    expect(isFinal(new RejectedError("REJECTED_NOT_OWNER", "", { status: 33 }))).toBe(true);
  });

  test("is false of what may pass", () => {
    const absent = { code: "ENOENT", errno: 2, syscall: "connect" };
    expect(isFinal(new SyscallError("", absent))).toBe(false);
    expect(isFinal(new LimitError("LIMIT_CONNECTIONS", "", { limit: 1, actual: 1 }))).toBe(false);
    expect(isFinal(new LimitError("LIMIT_SLOW_READER", "", { limit: 1, actual: 1 }))).toBe(false);
    expect(isFinal(new ClosedError("CLOSED_BY_BROKER", ""))).toBe(false);
    expect(isFinal(new ClosedError("CLOSED_BY_PEER", ""))).toBe(false);
    expect(isFinal(new TimeoutError("TIMEOUT_CONNECT", "", 5_000))).toBe(false);
  });
});
