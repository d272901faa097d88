import { beforeEach, describe, expect, test } from "bun:test";
import type { Connection } from "../../../../src/broker/connection.ts";
import { RESOURCE } from "../../../../src/broker/quotas/quota.ts";
import { ENTRIES_PER_STEP } from "../../../../src/broker/turn-limits.ts";
import { OPCODE } from "../../../../src/protocol/opcodes.ts";
import { finish } from "../connection-fixture.ts";
import { ServicesBench } from "./services-fixture.ts";

const UID = 7;
const COUNT = 500;
const SHARED = { service: "s", shared: true };

let bench: ServicesBench;
let owner: Connection;
let others: Connection[];

beforeEach(() => {
  bench = new ServicesBench(UID);
  owner = bench.connections.connect(1, UID);
  others = Array.from({ length: COUNT }, (_, n) => bench.connections.connect(n + 2, UID));
});

/** The ids of connections whose ownership changed, as they were told. */
function told(): number[] {
  return bench.take(OPCODE.OWNERSHIP).map(([to]) => to);
}

/** Does all that was left for later. @returns the most that one step told */
function tellAll(): [told: number[], longest: number] {
  const all: number[] = [];
  let longest = 0;
  bench.background.run(() => {
    const now = told();
    longest = Math.max(longest, now.length);
    all.push(...now);
    return true;
  });
  return [all, longest];
}

function end(connection: Connection): void {
  connection.state = "DOOMED";
  const steps = bench.requests.leave(connection);
  if (steps !== undefined) finish(steps);
}

function heldTopics(): number {
  return bench.connections.quotas.user(UID).used(RESOURCE.topics);
}

describe("a change of owners that concerns many", () => {
  test("lets all in that waited at once, and tells them in steps and in order", () => {
    bench.request(owner, OPCODE.SERVE, { service: "s" });
    for (const each of others) bench.request(each, OPCODE.SERVE, { ...SHARED, ifOwned: "queue" });
    bench.sent.length = 0;
    end(owner);
    expect(bench.table.find("s")?.ownerCount).toBe(COUNT);
    const first = told();
    expect(first).toHaveLength(ENTRIES_PER_STEP);
    const [rest, longest] = tellAll();
    expect([...first, ...rest]).toEqual(others.map(({ id }) => id));
    expect(longest).toBe(ENTRIES_PER_STEP);
  });

  test("is told to a member before anything else is asked of it, and once", () => {
    bench.request(owner, OPCODE.SERVE, { service: "s" });
    for (const each of others) bench.request(each, OPCODE.SERVE, { ...SHARED, ifOwned: "queue" });
    end(owner);
    bench.sent.length = 0;
    const service = bench.table.find("s");
    const last = others.at(-1);
    if (service === undefined || last === undefined) throw new Error("Somebody serves it");
    bench.ownership.settle(last, service);
    expect(told()).toEqual([last.id]);
    expect(tellAll()[0]).not.toContain(last.id);
  });

  test("takes the service from all at once, and tells them in steps", () => {
    for (const each of others) bench.request(each, OPCODE.SERVE, SHARED);
    bench.sent.length = 0;
    bench.request(owner, OPCODE.SERVE, { service: "s", ifOwned: "replace" });
    expect([...(bench.table.find("s")?.owners ?? [])]).toEqual([owner]);
    expect(told()).toHaveLength(ENTRIES_PER_STEP);
    expect(tellAll()[1]).toBe(ENTRIES_PER_STEP);
    expect(heldTopics()).toBe(1);
  });

  test("leaves nothing charged, whatever clients do before they are told", () => {
    for (const each of others) bench.request(each, OPCODE.SERVE, SHARED);
    const id = bench.table.find("s")?.topic.id ?? 0;
    bench.request(owner, OPCODE.SERVE, { service: "s", ifOwned: "replace" });
    const [again, unserving, ending] = others.slice(-3) as [Connection, Connection, Connection];
    bench.sent.length = 0;
    bench.request(again, OPCODE.SERVE, { ...SHARED, ifOwned: "queue" });
    expect(told()).toEqual([again.id]);
    bench.request(unserving, OPCODE.UNSERVE, { service: id });
    end(ending);
    const [rest] = tellAll();
    expect(rest).not.toContain(again.id);
    expect(heldTopics()).toBe(2);
    end(owner);
    expect(bench.table.find("s")?.member(again)?.isTold).toBe(true);
    expect(told()).toEqual([again.id]);
    end(again);
    expect(heldTopics()).toBe(0);
    expect(bench.table.find("s")).toBeUndefined();
  });
});
