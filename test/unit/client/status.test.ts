import { beforeEach, describe, expect, test } from "bun:test";
import { STATUS_EVENTS_MAX } from "../../../src/client/limits.ts";
import { type StatusEvent, StatusFeed } from "../../../src/client/status.ts";

let feed: StatusFeed;

beforeEach(() => {
  feed = new StatusFeed();
});

function gap(count: number): StatusEvent {
  return { type: "gap", topic: "a", count, reason: "send-queue-full" };
}

function emit(from: number, to: number): void {
  for (let count = from; count <= to; count += 1) feed.emit(gap(count));
}

describe("StatusFeed", () => {
  test("keeps STATUS_EVENTS_MAX events for a reader that takes none", async () => {
    const reader = feed.open();
    emit(1, STATUS_EVENTS_MAX);
    feed.end();
    const seen = await Array.fromAsync(reader);
    expect(seen).toEqual(Array.from({ length: STATUS_EVENTS_MAX }, (_, index) => gap(index + 1)));
  });

  test("gives each next() that waits an event of its own, and ends them all", async () => {
    const reader = feed.open();
    const waiting = [reader.next(), reader.next(), reader.next()];
    emit(1, 2);
    feed.end();
    expect((await Promise.all(waiting)).map(({ value }) => value)).toEqual([
      gap(1),
      gap(2),
      undefined,
    ]);
  });

  test("says in their place how many older ones a reader has missed, and once", async () => {
    const reader = feed.open();
    emit(1, STATUS_EVENTS_MAX + 3);
    expect((await reader.next()).value).toEqual({ type: "missed", count: 3 });
    expect((await reader.next()).value).toEqual(gap(4));
    feed.end();
    const rest = await Array.fromAsync(reader);
    expect(rest).toHaveLength(STATUS_EVENTS_MAX - 1);
    expect(rest.at(-1)).toEqual(gap(STATUS_EVENTS_MAX + 3));
  });

  test("says it again where more are missed later, and only to whom they are missing", async () => {
    const reader = feed.open();
    emit(1, STATUS_EVENTS_MAX + 1);
    const late = feed.open();
    expect((await reader.next()).value).toEqual({ type: "missed", count: 1 });
    emit(1, 2);
    feed.end();
    expect((await reader.next()).value).toEqual({ type: "missed", count: 2 });
    expect(await Array.fromAsync(late)).toEqual([gap(1), gap(2)]);
  });
});
