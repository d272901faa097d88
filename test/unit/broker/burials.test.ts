/** Ends of connections that hold much, measured in steps: nothing here looks at a clock. */

import { beforeEach, describe, expect, test } from "bun:test";
import type { Area } from "../../../src/broker/area.ts";
import { Background } from "../../../src/broker/background.ts";
import { Burials } from "../../../src/broker/burials.ts";
import { BusState } from "../../../src/broker/bus-state.ts";
import type { Connection } from "../../../src/broker/connection.ts";
import { FdGate } from "../../../src/broker/fd-gate.ts";
import { type ControlSender, Introductions } from "../../../src/broker/introductions.ts";
import { ENTRIES_PER_STEP } from "../../../src/broker/limits.ts";
import { ownUidPolicy } from "../../../src/broker/policy/decide.ts";
import { RESOURCE, type Resource } from "../../../src/broker/quota.ts";
import { Answers } from "../../../src/broker/services/answers.ts";
import { ServiceRequests } from "../../../src/broker/services/service-requests.ts";
import { ServiceTable } from "../../../src/broker/services/service-table.ts";
import { ServiceWatch } from "../../../src/broker/services/service-watch.ts";
import { Topic } from "../../../src/broker/topic-table.ts";
import { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import type { ControlMap } from "../../../src/protocol/control-body.ts";
import { FRAME_HEADER_BYTES } from "../../../src/protocol/limits.ts";
import { OPCODE } from "../../../src/protocol/opcodes.ts";
import { PacketWriter } from "../../../src/protocol/packet.ts";
import { ConnectionBench } from "./connection-fixture.ts";

const UID = 7;

let bench: ConnectionBench;
let state: BusState;
let introductions: Introductions;
let table: ServiceTable<Connection>;
let services: ServiceRequests;
let burials: Burials;
/** Frames as [connection, opcode, id]. */
let sent: [to: number, opcode: number, id: number][];
/** What listeners were told: "disconnected 3", "owner 3 a". */
let told: string[];

beforeEach(() => {
  bench = new ConnectionBench();
  state = new BusState(ownUidPolicy(UID), () => {});
  sent = [];
  told = [];
  const send: ControlSender = (to, { opcode, id }) => {
    if (to.state !== "DOOMED") sent.push([to.id, opcode, id]);
  };
  introductions = new Introductions(send);
  table = new ServiceTable<Connection>(state.topics);
  const onEvent = () => {};
  const answers = new Answers(send, onEvent);
  const presence = { isWanted: false, noteService: () => {} };
  const background = new Background();
  const watch = new ServiceWatch({ state, introductions, send, background, presence });
  const fdGate = new FdGate(false);
  services = new ServiceRequests({ state, table, watch, answers, fdGate, send, onEvent });
  burials = burialsOf([services]);
});

function burialsOf(areas: readonly Area[]): Burials {
  return new Burials({
    state,
    areas,
    introductions,
    presence: { noteDisconnected: ({ id }) => void told.push(`disconnected ${id}`) },
    table: { remove: () => {} },
    watch: { unwatch: () => {}, remove: () => {} },
    sockets: { close: () => {} },
    budget: { removeConnection: () => {} },
    onEvent: () => {},
  });
}

function request(connection: Connection, opcode: number, body: ControlMap): void {
  const buffer = new PinnedBuffer(1024);
  const writer = new PacketWriter(buffer.bytes.buffer);
  writer.appendControl(opcode, 0, 1, body);
  const frameBytes = buffer.words[0] ?? FRAME_HEADER_BYTES;
  const place = { buffer, bytes: buffer.bytes, offset: 0, frameBytes };
  services.read(connection, {
    opcode,
    flags: 0,
    id: 1,
    ...place,
    isRest: false,
    bundle: undefined,
  })();
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
  let before = sent.length - held();
  burials.run(() => {
    const now = sent.length - held();
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
      request(connection, OPCODE.SERVE, { service: `served.${number}` });
      request(connection, OPCODE.WATCH, { service: `watched.${number}` });
      request(connection, OPCODE.OPEN_SERVICE, { service: `called.${number}` });
    }
    expect(held()).toBe(3_000);
    doom(connection);
    expect(buryAll()).toBeLessThanOrEqual(ENTRIES_PER_STEP);
    expect([...table.all()]).toEqual([]);
    expect(connection.services).toBeUndefined();
  });

  test("tells many who heard of a connection in steps, each once", () => {
    const connection = bench.connect(1, UID);
    const others = Array.from({ length: 500 }, (_, place) => bench.connect(place + 2, UID));
    for (const other of others) introductions.introduceSender(other, connection);
    sent.length = 0;
    doom(connection);
    expect(buryAll()).toBe(ENTRIES_PER_STEP);
    expect(sent).toEqual(others.map(({ id }) => [id, OPCODE.SENDER_GONE, connection.id]));
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
        request(server, OPCODE.SERVE, { service, ifOwned: "queue" });
      }
    }
    doom(leaving);
    burials.run(() => {
      for (const service of names.map((name) => table.find(name))) {
        const owners = [...(service?.owners ?? [])];
        expect(owners).toEqual([service?.isWaiting(second) === true ? leaving : second]);
      }
      return true;
    });
    expect(names.map((name) => [...(table.find(name)?.owners ?? [])])).toEqual(
      names.map(() => [second]),
    );
    const changes = sent.filter(([, opcode]) => opcode === OPCODE.OWNERSHIP);
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
