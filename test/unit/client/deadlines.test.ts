import { beforeEach, describe, expect, test } from "bun:test";
import { Deadlines, TimedEntry } from "../../../src/client/deadlines.ts";
import { TIMER_MS_MAX } from "../../../src/client/limits.ts";
import { FakeClock } from "./simulated-bus.ts";

let clock: FakeClock;
let deadlines: Deadlines;
let due: string[];

class Named extends TimedEntry {
  readonly name: string;
  readonly #then: () => void;

  constructor(name: string, then: () => void = () => {}) {
    super();
    this.name = name;
    this.#then = then;
  }

  onDue(): void {
    due.push(this.name);
    this.#then();
  }
}

beforeEach(() => {
  clock = new FakeClock();
  deadlines = new Deadlines(clock);
  due = [];
});

function add(name: string, ms: number, then?: () => void): Named {
  const entry = new Named(name, then);
  deadlines.add(entry, ms);
  return entry;
}

describe("Deadlines", () => {
  test("call each entry at its time, whatever the order they came in", () => {
    add("c", 300);
    add("a", 100);
    add("b", 200);
    clock.pass(99);
    expect(due).toEqual([]);
    clock.pass(1);
    expect(due).toEqual(["a"]);
    clock.pass(200);
    expect(due).toEqual(["a", "b", "c"]);
  });

  test("do not call what was removed, from any place of its queue", () => {
    const entries = ["a", "b", "c", "d"].map((name) => add(name, 50));
    for (const index of [1, 3, 0]) deadlines.remove(entries[index] as Named);
    deadlines.remove(entries[1] as Named);
    clock.pass(50);
    expect(due).toEqual(["c"]);
  });

  test("run one timer for many entries, and none for none", () => {
    for (let index = 0; index < 1_000; index += 1) deadlines.remove(add("x", 30_000));
    expect(clock.started).toBe(1);
    clock.pass(30_000);
    expect(due).toEqual([]);
    expect(clock.running).toBe(0);
  });

  test("bring the timer forward for an earlier entry", () => {
    add("late", 1_000);
    add("early", 10);
    expect(clock.running).toBe(1);
    clock.pass(10);
    expect(due).toEqual(["early"]);
    expect(clock.running).toBe(1);
  });

  test("take an entry again while they call it", () => {
    const again: Named = add("again", 10, () => {
      if (due.length < 3) deadlines.add(again, 10);
    });
    clock.pass(30);
    expect(due).toEqual(["again", "again", "again"]);
  });

  test("never call an entry whose time is Infinity", () => {
    add("never", Number.POSITIVE_INFINITY);
    expect(clock.started).toBe(0);
  });

  test("wait longer than a timer can", () => {
    add("later", TIMER_MS_MAX + 1_000);
    clock.pass(TIMER_MS_MAX);
    expect(due).toEqual([]);
    clock.pass(1_000);
    expect(due).toEqual(["later"]);
  });

  test("forget everything when cleared", () => {
    const entry = add("a", 10);
    deadlines.clear();
    deadlines.remove(entry);
    clock.pass(100);
    expect(due).toEqual([]);
    expect(clock.running).toBe(0);
  });
});
