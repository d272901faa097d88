import { beforeEach, describe, expect, test } from "bun:test";
import type { Connection } from "../../../../src/broker/connection.ts";
import type { BrokerEvent } from "../../../../src/broker/events.ts";
import { FdGate } from "../../../../src/broker/fds/fd-gate.ts";
import { Background } from "../../../../src/broker/long-work/background.ts";
import { Chores } from "../../../../src/broker/long-work/chores.ts";
import { ownUidPolicy } from "../../../../src/broker/policy/decide.ts";
import { Rights, type RightsParts } from "../../../../src/broker/requests/rights.ts";
import { BusState } from "../../../../src/broker/routing/bus-state.ts";
import { Topic } from "../../../../src/broker/routing/topic-table.ts";
import { ENTRIES_PER_STEP } from "../../../../src/broker/turn-limits.ts";
import { OPCODE } from "../../../../src/protocol/opcodes.ts";
import { ConnectionBench } from "../connection-fixture.ts";

const MANY = 10_000;

let bench: ConnectionBench;
let state: BusState;
let background: Background;
let chores: Chores;
/** What connections lost: "publish a.1". */
let revoked: string[];
/** Where the last call of hasTime() stood in `revoked`, and the most that came between two. */
let lookedAt: number;
let longestStep: number;

beforeEach(() => {
  bench = new ConnectionBench();
  state = new BusState(ownUidPolicy(1), () => {});
  background = new Background();
  chores = new Chores(background);
  revoked = [];
  lookedAt = 0;
  longestStep = 0;
});

function rightsWith(parts: Partial<RightsParts> = {}): Rights {
  const onEvent = (event: BrokerEvent) => {
    if (event.type === "revoked") revoked.push(`${event.action} ${event.topic}`);
  };
  const none = { areas: [], fdGate: new FdGate(false), send: () => {} };
  return new Rights({ state, background, chores, onEvent, ...none, ...parts });
}

/** A clock that measures steps by what they revoke. @param turns looks until time is up */
function clock(turns = Number.POSITIVE_INFINITY): () => boolean {
  let left = turns;
  return () => {
    longestStep = Math.max(longestStep, revoked.length - lookedAt);
    lookedAt = revoked.length;
    left -= 1;
    return left > 0;
  };
}

function subscribeTo(connection: Connection, count: number): void {
  for (let number = 0; number < count; number += 1) {
    connection.subscriptions.set(connection.nextSubscription(), `a.${number}`);
    state.subscribe(connection, `a.${number}`);
  }
}

function openTopics(connection: Connection, count: number): void {
  for (let number = 0; number < count; number += 1) {
    const topic = state.holdTopic(connection, `t${connection.id}.${number}`);
    if (!(topic instanceof Topic)) throw new Error("There are too many topics");
    const sendFds = { allowed: false, rule: undefined };
    const open = { topic, mayPublish: true, messageBytesMax: 1, sendFds, introducedTo: undefined };
    connection.openTopics.set(topic.id, open);
  }
}

describe("Rights.refresh()", () => {
  test("stops revoking where the client is closed because it does not read", () => {
    const connection = bench.connect(1, 1);
    subscribeTo(connection, 10);
    const rights = rightsWith({
      send: (to, { opcode }) => {
        if (opcode === OPCODE.REVOKED && connection.subscriptions.size < 8) to.state = "DOOMED";
      },
    });
    state.replacePolicy(ownUidPolicy(2));
    rights.refresh(connection);
    background.run(() => true);
    expect(revoked).toHaveLength(3);
    expect(connection.subscriptions.size).toBe(7);
  });

  test("looks at many subscriptions in steps, and drops them all in the end", () => {
    const connection = bench.connect(1, 1);
    subscribeTo(connection, MANY);
    const rights = rightsWith();
    state.replacePolicy(ownUidPolicy(2));
    rights.refresh(connection);
    expect(rights.areStale(connection)).toBe(false);
    background.run(clock());
    expect(connection.subscriptions.size).toBe(0);
    expect(state.subscriptionCount).toBe(0);
    expect(longestStep).toBe(ENTRIES_PER_STEP);
  });

  test("looks at many topics in steps, before the next packet and not before all of it", () => {
    const connection = bench.connect(1, 1);
    openTopics(connection, 1_000);
    const rights = rightsWith();
    state.replacePolicy(ownUidPolicy(2));
    rights.refresh(connection);
    expect(chores.finish(connection, { hasTime: clock(2) })).toBe(false);
    expect(revoked).toHaveLength(2 * ENTRIES_PER_STEP);
    expect(chores.finish(connection, { hasTime: clock() })).toBe(true);
    expect(revoked).toHaveLength(1_000);
    expect(longestStep).toBe(ENTRIES_PER_STEP);
    background.run(() => true);
    expect(revoked).toHaveLength(1_000);
  });

  test("begins anew where yet another policy came meanwhile", () => {
    const connection = bench.connect(1, 1);
    openTopics(connection, 1_000);
    const rights = rightsWith();
    state.replacePolicy(ownUidPolicy(2));
    rights.refresh(connection);
    expect(chores.finish(connection, { hasTime: clock(1) })).toBe(false);
    state.replacePolicy(ownUidPolicy(1));
    expect(rights.areStale(connection)).toBe(true);
    rights.refresh(connection);
    expect(chores.finish(connection, { hasTime: () => true })).toBe(true);
    expect(revoked).toHaveLength(ENTRIES_PER_STEP);
    const publishable = [...connection.openTopics.values()].filter((open) => open.mayPublish);
    expect(publishable).toHaveLength(1_000);
    expect(background.isIdle).toBe(false);
    background.run(() => true);
    expect(background.isIdle).toBe(true);
  });

  test("lets users take turns, so that one with few rights does not wait for one with many", () => {
    const [many, few] = [bench.connect(1, 1), bench.connect(2, 2)];
    openTopics(many, 5_000);
    openTopics(few, 1);
    const rights = rightsWith();
    state.replacePolicy(ownUidPolicy(3));
    for (const _step of rights.sweep([many, few]));
    background.run(clock(3));
    expect(revoked).toContain("publish t2.0");
    expect(revoked.length).toBeLessThan(3 * ENTRIES_PER_STEP);
  });
});
