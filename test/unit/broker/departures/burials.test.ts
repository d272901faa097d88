/** Ends of connections that hold much, measured in steps: nothing here looks at a clock. */

import { beforeEach, describe, expect, test } from "bun:test";
import type { Area } from "../../../../src/broker/area.ts";
import type { Connection } from "../../../../src/broker/connection.ts";
import { Burials } from "../../../../src/broker/departures/burials.ts";
import { RESOURCE, type Resource } from "../../../../src/broker/quotas/quota.ts";
import type { BusState } from "../../../../src/broker/routing/bus-state.ts";
import { Topic } from "../../../../src/broker/routing/topic-table.ts";
import { ENTRIES_PER_STEP } from "../../../../src/broker/turn-limits.ts";
import { OPCODE } from "../../../../src/protocol/opcodes.ts";
import type { ConnectionBench } from "../connection-fixture.ts";
import { ServicesBench } from "../services/services-fixture.ts";

const UID = 7;

let services: ServicesBench;
let bench: ConnectionBench;
let state: BusState;
let burials: Burials;
/** What listeners were told: "disconnected 3". */
let told: string[];
/** Steps that it takes to empty a connection's socket. */
let stepsToEmpty: Map<number, number>;

beforeEach(() => {
  services = new ServicesBench(UID);
  bench = services.connections;
  state = services.state;
  told = [];
  stepsToEmpty = new Map();
  burials = burialsOf([services.requests]);
});

function burialsOf(areas: readonly Area[]): Burials {
  return new Burials({
    state,
    areas,
    introductions: services.introductions,
    presence: { noteDisconnected: ({ id }) => void told.push(`disconnected ${id}`) },
    table: { remove: () => {} },
    watch: { unwatch: () => {}, remove: () => {} },
    sockets: { drain, close: () => {} },
    budget: { removeConnection: () => {} },
    onEvent: () => {},
  });
}

/** Empties a socket. */
function* drain({ id }: Connection): Generator<void, boolean> {
  for (let step = 0; step < (stepsToEmpty.get(id) ?? 0); step += 1) yield;
  return true;
}

function subscribeTo(connection: Connection, count: number, pattern: (n: number) => string): void {
  for (let number = 0; number < count; number += 1) {
    connection.subscriptions.set(connection.nextSubscription(), pattern(number));
    state.subscribe(connection, pattern(number));
  }
}

/** Opens topics for publishing. */
function openTopics(connection: Connection, count: number): void {
  for (let number = 0; number < count; number += 1) {
    const topic = state.holdTopic(connection, `topic.${number}`);
    if (!(topic instanceof Topic)) throw new Error("There are too many topics");
    const sendFds = { allowed: false, rule: undefined };
    const open = { topic, mayPublish: true, messageBytesMax: 1, sendFds, introducedTo: undefined };
    connection.openTopics.set(topic.id, open);
  }
}

function doom(connection: Connection): void {
  connection.state = "DOOMED";
  connection.queue.abandon();
  burials.add(connection, undefined);
}

const RESOURCES: Resource[] = [RESOURCE.subscriptions, RESOURCE.topics];

function held(): number {
  return RESOURCES.reduce<number>(
    (sum, resource) => sum + bench.quotas.user(UID).used(resource),
    0,
  );
}

/** Works until all are buried. @returns the most that one step released or told */
function buryAll(): number {
  let longest = 0;
  let before = services.sent.length - held();
  burials.run(() => {
    const now = services.sent.length - held();
    longest = Math.max(longest, now - before);
    before = now;
    return true;
  });
  expect(held()).toBe(0);
  expect(burials.isEmpty).toBe(true);
  return longest;
}

describe("Burials.run()", () => {
  test("takes a connection with many subscriptions and topics apart in steps", () => {
    const connection = bench.connect(1, UID);
    subscribeTo(connection, 5_000, (number) => `a.${number}`);
    openTopics(connection, 5_000);
    doom(connection);
    expect(buryAll()).toBe(ENTRIES_PER_STEP);
    expect(state.subscriptionCount).toBe(0);
    expect(state.topics.size).toBe(0);
    expect(told).toEqual(["disconnected 1"]);
  });

  test("takes a connection that serves, watches and calls many services apart in steps", () => {
    const connection = bench.connect(1, UID);
    for (let number = 0; number < 1_000; number += 1) {
      services.request(connection, OPCODE.SERVE, { service: `served.${number}` });
      services.request(connection, OPCODE.WATCH, { service: `watched.${number}` });
      services.request(connection, OPCODE.OPEN_SERVICE, { service: `called.${number}` });
    }
    expect(held()).toBe(3_000);
    doom(connection);
    expect(buryAll()).toBeLessThanOrEqual(ENTRIES_PER_STEP);
    expect([...services.table.all()]).toEqual([]);
    expect(connection.services).toBeUndefined();
  });

  test("tells many who heard of a connection in steps, each once", () => {
    const connection = bench.connect(1, UID);
    const others = Array.from({ length: 500 }, (_, place) => bench.connect(place + 2, UID));
    for (const other of others) services.introductions.introduceSender(other, connection);
    services.sent.length = 0;
    doom(connection);
    expect(buryAll()).toBe(ENTRIES_PER_STEP);
    expect(services.sent).toEqual(others.map(({ id }) => [id, OPCODE.SENDER_GONE, connection.id]));
  });

  test("makes no step longer where thousands end at once", () => {
    const connections = Array.from({ length: 2_000 }, (_, place) => bench.connect(place + 1, UID));
    for (const connection of connections) {
      subscribeTo(connection, 3, (number) => `${connection.id}.${number}`);
    }
    for (const connection of connections) doom(connection);
    expect(buryAll()).toBe(3);
    expect(told).toEqual(connections.map(({ id }) => `disconnected ${id}`));
  });

  test("hands services on in order, and is sound between any two steps", () => {
    const [leaving, second, third] = [1, 2, 3].map((id) => bench.connect(id, UID));
    if (leaving === undefined || second === undefined || third === undefined) return;
    const names = Array.from({ length: 300 }, (_, number) => `s.${number}`);
    for (const service of names) {
      for (const server of [leaving, second, third]) {
        services.request(server, OPCODE.SERVE, { service, ifOwned: "queue" });
      }
    }
    doom(leaving);
    burials.run(() => {
      for (const service of names.map((name) => services.table.find(name))) {
        const owners = [...(service?.owners ?? [])];
        expect(owners).toEqual([service?.isWaiting(second) === true ? leaving : second]);
      }
      return true;
    });
    expect(names.map((name) => [...(services.table.find(name)?.owners ?? [])])).toEqual(
      names.map(() => [second]),
    );
    const changes = services.sent.filter(([, opcode]) => opcode === OPCODE.OWNERSHIP);
    expect(changes.map(([to]) => to)).toEqual(names.map(() => second.id));
  });

  test("lets users take turns, so that nobody waits for all that another one held", () => {
    const [many, few] = [bench.connect(1, UID), bench.connect(2, UID + 1)];
    subscribeTo(many, 10_000, (number) => `a.${number}`);
    doom(many);
    doom(few);
    let steps = 0;
    burials.run(() => {
      steps += 1;
      return told.length === 0;
    });
    expect(told).toEqual(["disconnected 2"]);
    expect(steps).toBe(2);
  });

  test("empties a socket in steps, while others are buried", () => {
    stepsToEmpty.set(1, 1_000);
    doom(bench.connect(1, UID));
    doom(bench.connect(2, UID + 1));
    expect(buryAll()).toBeLessThanOrEqual(ENTRIES_PER_STEP);
    expect(told).toEqual(["disconnected 2", "disconnected 1"]);
  });
});

describe("BusState.leave()", () => {
  test("takes a connection out of all routes before its first step, for good", () => {
    const [leaving, staying] = [bench.connect(1, UID), bench.connect(2, UID)];
    const topic = state.holdTopic(staying, "a.999");
    if (!(topic instanceof Topic)) throw new Error("There are too many topics");
    subscribeTo(staying, 1, () => "a.*");
    subscribeTo(leaving, 1_000, (number) => `*.${number}`);
    expect(state.routeOf(topic, () => {}).destinations).toEqual([leaving, staying]);
    doom(leaving);
    burials.run(() => false);
    expect(leaving.subscriptions.size).toBeGreaterThan(0);
    expect(state.routeOf(topic, () => {}).destinations).toEqual([staying]);
    const computed = state.routesComputed;
    burials.run(() => {
      state.routeOf(topic, () => {});
      return true;
    });
    expect(leaving.subscriptions.size).toBe(0);
    expect(state.routesComputed).toBe(computed);
  });
});
