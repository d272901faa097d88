import { describe, expect, test } from "bun:test";
import { FdBudget } from "../../../../src/broker/fds/fd-budget.ts";
import { FDS_PER_CONNECTION, FDS_RESERVED } from "../../../../src/broker/fds/limits.ts";

/** What may be given out. */
const TOTAL = 100;

function budget(): FdBudget {
  return new FdBudget(FDS_RESERVED + TOTAL);
}

describe("FdBudget", () => {
  test("gives all but the reserve to connections where no message holds an fd", () => {
    const fds = budget();
    let connections = 0;
    for (; fds.hasRoomForConnection(); connections += 1) fds.addConnection();
    expect(connections).toBe(TOTAL / FDS_PER_CONNECTION);
    expect(fds.connectionsMax).toBe(connections);
    expect(fds.hasRoomForFds(1)).toBe(false);
    fds.removeConnection();
    expect([fds.hasRoomForFds(FDS_PER_CONNECTION), fds.hasRoomForConnection()]).toEqual([
      true,
      true,
    ]);
  });

  test("gives half of it to messages at most, so that they keep nobody out", () => {
    const fds = budget();
    expect([fds.hasRoomForFds(TOTAL / 2), fds.hasRoomForFds(TOTAL / 2 + 1)]).toEqual([true, false]);
    fds.hold(TOTAL / 2);
    expect([fds.hasRoomForFds(1), fds.hasRoomForConnection()]).toEqual([false, true]);
    fds.letGo(1);
    expect(fds.hasRoomForFds(1)).toBe(true);
  });

  test("does not let go of more than is held", () => {
    expect(() => budget().letGo(1)).toThrow("no more fds are let go");
    expect(() => budget().removeConnection()).toThrow("no more connections are removed");
  });
});
