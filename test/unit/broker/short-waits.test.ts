import { describe, expect, test } from "bun:test";
import {
  FAILED_WATCH_WAITS,
  FAILED_WATCH_WAITS_MAX,
  SHORT_WAIT_MS,
  SHORT_WAITS_BEFORE_WATCH,
  WATCHES_PER_FAILURE,
} from "../../../src/broker/limits.ts";
import { ShortWaits } from "../../../src/broker/short-waits.ts";

const SHORT = SHORT_WAIT_MS / 2;
const LONG = SHORT_WAIT_MS * 2;
const CORES = 2;

/** Waits until it stays awake. @returns how many short waits that took */
function watchAgain(waits: ShortWaits): number {
  for (let count = 0; count <= 2 * FAILED_WATCH_WAITS_MAX; count += 1) {
    if (waits.areLikely) return count;
    waits.note(SHORT);
  }
  throw new Error("It never stays awake again");
}

describe("ShortWaits", () => {
  test("sleeps until several waits in a row were short", () => {
    const waits = new ShortWaits(CORES);
    for (let count = 1; count < SHORT_WAITS_BEFORE_WATCH; count += 1) waits.note(SHORT);
    expect(waits.areLikely).toBe(false);
    waits.note(LONG);
    expect(watchAgain(waits)).toBe(SHORT_WAITS_BEFORE_WATCH);
  });

  test("never stays awake on one core, which the one who answers needs", () => {
    const waits = new ShortWaits(1);
    for (let count = 0; count <= 2 * FAILED_WATCH_WAITS_MAX; count += 1) {
      waits.note(SHORT);
      expect(waits.areLikely).toBe(false);
    }
  });

  test("takes what was ready already for no wait", () => {
    const waits = new ShortWaits(CORES);
    for (let count = 0; count < 100; count += 1) waits.note(0);
    expect(waits.areLikely).toBe(false);
  });

  test("stays awake for as long as waits are short", () => {
    const waits = new ShortWaits(CORES);
    watchAgain(waits);
    for (let count = 0; count < 100; count += 1) waits.note(SHORT);
    expect(waits.areLikely).toBe(true);
  });

  test("sleeps for longer after each wait that was long in vain, up to a limit", () => {
    const waits = new ShortWaits(CORES);
    watchAgain(waits);
    waits.note(LONG);
    expect(watchAgain(waits)).toBe(FAILED_WATCH_WAITS + SHORT_WAITS_BEFORE_WATCH);
    waits.note(LONG);
    expect(watchAgain(waits)).toBe(2 * FAILED_WATCH_WAITS + SHORT_WAITS_BEFORE_WATCH);
    for (let count = 0; count < 20; count += 1) {
      waits.note(LONG);
      watchAgain(waits);
    }
    waits.note(LONG);
    expect(watchAgain(waits)).toBe(FAILED_WATCH_WAITS_MAX + SHORT_WAITS_BEFORE_WATCH);
  });

  test("goes on staying awake behind one failure among many successes, and not behind two", () => {
    const waits = new ShortWaits(CORES);
    watchAgain(waits);
    for (let round = 0; round < 3; round += 1) {
      for (let count = 0; count < WATCHES_PER_FAILURE; count += 1) waits.note(SHORT);
      waits.note(LONG);
      expect(watchAgain(waits)).toBe(0);
    }
    waits.note(LONG);
    expect(watchAgain(waits)).toBe(FAILED_WATCH_WAITS + SHORT_WAITS_BEFORE_WATCH);
  });

  test("forgets earlier failures once it stayed awake with success", () => {
    const waits = new ShortWaits(CORES);
    watchAgain(waits);
    waits.note(LONG);
    watchAgain(waits);
    waits.note(SHORT);
    waits.note(LONG);
    expect(watchAgain(waits)).toBe(FAILED_WATCH_WAITS + SHORT_WAITS_BEFORE_WATCH);
  });
});
