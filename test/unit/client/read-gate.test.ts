/** When a bus reads on, and when it has the broker hold publishers back instead. */

import { beforeEach, describe, expect, test } from "bun:test";
import { PAUSE_REPEAT_MS, STANDSTILL_MS } from "../../../src/client/limits.ts";
import { ReadGate } from "../../../src/client/read-gate.ts";
import { FakeClock } from "./simulated-bus.ts";

/** What the gate did, in order. */
let story: string[];
let clock: FakeClock;
let gate: ReadGate<string>;

beforeEach(() => {
  story = [];
  clock = new FakeClock();
  gate = new ReadGate({
    setPaused: (isPaused) => void story.push(isPaused ? "stop" : "read"),
    tellBroker: (isPaused) => void story.push(isPaused ? "PAUSE" : "RESUME"),
    clock,
    onStandstill: (name) => void story.push(`end ${name}`),
  });
});

describe("ReadGate", () => {
  test("stops reading while a subscription is full, and tells the broker nothing", () => {
    gate.noteFill("a", "full");
    gate.noteFill("b", "full");
    gate.noteFill("a", "room");
    expect(story).toEqual(["stop"]);
    gate.noteFill("b", "draining");
    expect(story).toEqual(["stop", "read"]);
    gate.noteFill("b", "room");
    expect(story).toEqual(["stop", "read"]);
  });

  test("reads on for an answer once the broker holds publishers back", () => {
    gate.noteFill("a", "full");
    gate.noteAwaited(true);
    expect(story).toEqual(["stop", "PAUSE", "read"]);
    gate.noteAwaited(false);
    expect(story.slice(3)).toEqual(["stop"]);
  });

  test("lets the broker go on where all have drained, however many answers were awaited", () => {
    gate.noteAwaited(true);
    gate.noteFill("a", "full");
    gate.noteFill("b", "full");
    gate.noteAwaited(false);
    gate.noteAwaited(true);
    gate.noteFill("b", "room");
    gate.noteFill("a", "draining");
    expect(story).toEqual(["PAUSE", "stop", "read"]);
    gate.noteFill("a", "room");
    expect(story.slice(3)).toEqual(["RESUME"]);
  });

  test("reads on for other news until each has come or failed", async () => {
    const { promise: first, resolve } = Promise.withResolvers<void>();
    const { promise: second, reject } = Promise.withResolvers<void>();
    gate.noteFill("a", "full");
    gate.await(first);
    gate.await(second);
    expect(story).toEqual(["stop", "PAUSE", "read"]);
    resolve();
    await first;
    expect(story).toHaveLength(3);
    reject(new Error("gone"));
    await second.catch(() => {});
    await Promise.resolve();
    expect(story.slice(3)).toEqual(["stop"]);
  });

  test("reads nothing more for any answer beyond what may come, and says why", () => {
    gate.noteAwaited(true);
    gate.noteFill("a", "full");
    expect(gate.obstacle).toBeUndefined();
    gate.noteFill("b", "over");
    expect([gate.obstacle, story]).toEqual(["b", ["PAUSE", "stop"]]);
    gate.noteFill("b", "full");
    expect([gate.obstacle, story.slice(2)]).toEqual([undefined, ["read"]]);
  });

  test("tells where the program takes nothing that keeps an answer from being read", () => {
    gate.noteAwaited(true);
    gate.noteFill("a", "over");
    clock.pass(STANDSTILL_MS - 1);
    gate.noteTaken();
    clock.pass(STANDSTILL_MS - 1);
    expect(story).toEqual(["PAUSE", "stop", "PAUSE"]);
    clock.pass(1);
    expect(story.slice(3)).toEqual(["end a"]);
  });

  test("tells nothing of that where no answer is awaited, or it can be read", () => {
    gate.await(new Promise(() => {}));
    gate.noteFill("a", "over");
    clock.pass(STANDSTILL_MS);
    gate.noteAwaited(true);
    gate.noteFill("a", "full");
    gate.noteFill("a", "over");
    gate.noteAwaited(false);
    expect([clock.running, story]).toEqual([0, ["PAUSE", "stop", "read", "stop"]]);
  });

  test("tells a paused broker that the program takes messages, now and then", () => {
    gate.noteFill("a", "full");
    clock.pass(PAUSE_REPEAT_MS);
    gate.noteTaken();
    expect(story).toEqual(["stop"]);
    gate.noteAwaited(true);
    clock.pass(PAUSE_REPEAT_MS - 1);
    gate.noteTaken();
    expect(story.slice(1)).toEqual(["PAUSE", "read"]);
    clock.pass(1);
    gate.noteTaken();
    gate.noteTaken();
    expect(story.slice(3)).toEqual(["PAUSE"]);
  });

  test("tells the next broker before anything is read from it", () => {
    gate.noteFill("a", "full");
    gate.noteAwaited(true);
    gate.noteAwaited(false);
    story = [];
    gate.renew();
    expect(story).toEqual(["stop"]);
    gate.noteAwaited(true);
    expect(story.slice(1)).toEqual(["PAUSE", "read"]);
  });
});
