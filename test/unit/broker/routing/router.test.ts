import { beforeEach, describe, expect, spyOn, test } from "bun:test";
import type { Connection } from "../../../../src/broker/connection.ts";
import { figuresOf } from "../../../../src/broker/figures/figures.ts";
import { ownUidPolicy } from "../../../../src/broker/policy/decide.ts";
import { BusState } from "../../../../src/broker/routing/bus-state.ts";
import { Introductions } from "../../../../src/broker/routing/introductions.ts";
import { NOT_PLAIN, Router } from "../../../../src/broker/routing/router.ts";
import { Topic } from "../../../../src/broker/routing/topic-table.ts";
import {
  CONTROL_FRAME_BUFFER,
  encodeControlFrame,
} from "../../../../src/broker/sending/control-frames.ts";
import { DIRECT_SEND_BYTES_MIN } from "../../../../src/broker/sending/limits.ts";
import { ProtocolError } from "../../../../src/errors.ts";
import { decodeTopicBody } from "../../../../src/protocol/control-messages.ts";
import { MESSAGE_BODY_BYTES_MAX } from "../../../../src/protocol/limits.ts";
import { FLAG_FDS_WITHHELD, OPCODE } from "../../../../src/protocol/opcodes.ts";
import { ConnectionBench, finish, quietRouterHost } from "../connection-fixture.ts";
import { FrameBuffer, numberOf, type SentFrame } from "../frame-fixture.ts";
import { parse } from "../policy/policy-fixture.ts";

const frames = new FrameBuffer();
let bench: ConnectionBench;
let state: BusState;
let introductions: Introductions;
let router: Router;
let unflushed: Connection[];
let gone: Connection[];
/** Messages that were refused for their size, as [topic id, bytes of the body]. */
let tooLarge: [topic: number, bodyBytes: number][];
let publisher: Connection;
/** What the next looks at the clock say; then there is time. */
let looks: boolean[];

beforeEach(() => {
  bench = new ConnectionBench();
  state = new BusState(ownUidPolicy(0), () => {});
  unflushed = [];
  gone = [];
  tooLarge = [];
  introductions = new Introductions((connection, frame) => {
    connection.queue.push(CONTROL_FRAME_BUFFER, encodeControlFrame(frame));
  });
  looks = [];
  router = new Router(state, introductions, bench.fdsInFlight, {
    ...quietRouterHost(),
    hasTime: () => looks.shift() ?? true,
    noteUnflushed: (connection) => {
      connection.isUnflushed = true;
      unflushed.push(connection);
    },
    notePeerGone: (connection) => void gone.push(connection),
    noteTooLarge: (_sender, { topic }, bodyBytes) => void tooLarge.push([topic.id, bodyBytes]),
  });
  publisher = bench.connect(1);
});

function subscriber(id: number, ...patterns: string[]): Connection {
  const connection = bench.connect(id);
  for (const pattern of patterns) subscribe(connection, pattern);
  return connection;
}

/** The connection ends. */
function leave(connection: Connection): void {
  connection.state = "DOOMED";
  finish(state.leave(connection));
  finish(introductions.leave(connection));
}

function subscribe(connection: Connection, pattern: string): void {
  connection.subscriptions.set(connection.nextSubscription(), pattern);
  state.subscribe(connection, pattern);
}

/** Opens a topic for the publisher. @returns its id */
function open(name: string): number {
  const topic = state.holdTopic(publisher, name);
  if (!(topic instanceof Topic)) throw new Error("There are too many topics");
  publisher.openTopics.set(topic.id, {
    topic,
    mayPublish: true,
    messageBytesMax: MESSAGE_BODY_BYTES_MAX,
    sendFds: { allowed: true, rule: undefined },
    introducedTo: undefined,
  });
  return topic.id;
}

/** Routes one packet of messages, numbered from 0, on these topics. */
function route(topics: readonly number[], bodyBytes = 8): void {
  const messages = topics.map((topic, number) => ({ topic, number, bodyBytes }));
  const packetBytes = frames.messages(messages);
  expect(router.routePacket(publisher, frames.buffer, packetBytes)).toBe(packetBytes);
}

function messagesTo(connection: Connection): SentFrame[] {
  return bench.framesTo(connection).filter(({ opcode }) => opcode === OPCODE.MESSAGE);
}

describe("Router.routePacket()", () => {
  test("stops behind a topic whose route took the turn's time, and takes the rest as a packet", () => {
    const all = subscriber(2, ">");
    const topics = [open("a"), open("a"), open("b"), open("c")];
    const messages = topics.map((topic, number) => ({ topic, number, bodyBytes: 8 }));
    const packetBytes = frames.messages(messages);
    looks = [false];
    const stop = router.routePacket(publisher, frames.buffer, packetBytes);
    expect(stop).toBe(packetBytes / 2);
    expect(messagesTo(all).map(numberOf)).toEqual([0, 1]);
    const rest = messages.slice(2);
    expect(router.routePacket(publisher, frames.buffer, frames.messages(rest))).toBe(
      packetBytes / 2,
    );
    expect(messagesTo(all).map(numberOf)).toEqual([2, 3]);
    expect(publisher.counters).toMatchObject({ published: 4, matched: 4 });
  });

  test("brings each message to those who subscribed to its topic, in order", () => {
    const [a, b] = [open("a"), open("b")];
    const both = subscriber(2, ">");
    const one = subscriber(3, "b");
    route([a, b, b, a, b]);
    expect(messagesTo(both).map(numberOf)).toEqual([0, 1, 2, 3, 4]);
    expect(messagesTo(one).map(numberOf)).toEqual([1, 2, 4]);
    expect(publisher.counters).toMatchObject({ published: 5, matched: 8, dropped: 0 });
  });

  test("joins neighbours that go to the same subscribers in one send", () => {
    const topics = ["t.a", "t.b", "t.c"].map(open);
    const all = subscriber(2, "t.*");
    const some = subscriber(3, "t.a");
    // First packets bring the introductions, which would be queued before.
    route(topics);
    for (const each of [all, some]) bench.framesTo(each);
    state.unsubscribe(some, "t.a");
    const sendsBefore = bench.socketOf(all).sends;
    route([...topics, ...topics], 8_000);
    expect(6 * 8_000).toBeGreaterThan(DIRECT_SEND_BYTES_MIN);
    expect(bench.socketOf(all).sends - sendsBefore).toBe(1);
    expect(messagesTo(all)).toHaveLength(6);
    expect(messagesTo(some)).toEqual([]);
  });

  test("stamps the sender's connection id on every message", () => {
    const a = open("a");
    const all = subscriber(2, "a");
    route([a, a]);
    expect(messagesTo(all).map(({ origin }) => origin)).toEqual([publisher.id, publisher.id]);
  });

  test("routes nothing of a packet that names a topic which is not open", () => {
    const a = open("a");
    const all = subscriber(2, ">");
    let thrown: unknown;
    try {
      route([a, a, a + 1]);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(ProtocolError);
    expect(thrown).toMatchObject({ code: "PROTOCOL_TOPIC_ID", byteOffset: 48 });
    expect(bench.framesTo(all)).toEqual([]);
    expect(publisher.counters.published).toBe(0);
  });

  test.each([
    ["a control frame behind a message", OPCODE.NOOP, 16],
    ["a message that ends outside", OPCODE.MESSAGE, 64],
    ["a message shorter than a header", OPCODE.MESSAGE, 8],
  ])("leaves %s to the slow way and routes nothing", (_what, opcode, secondBytes) => {
    const a = open("a");
    const all = subscriber(2, ">");
    const packetBytes = frames.messages([
      { topic: a, number: 0, bodyBytes: 8 },
      { topic: a, number: 1, bodyBytes: 8 },
    ]);
    frames.buffer.words[6] = secondBytes;
    frames.buffer.words[7] = opcode;
    expect(router.routePacket(publisher, frames.buffer, packetBytes)).toBe(NOT_PLAIN);
    expect(bench.framesTo(all)).toEqual([]);
  });

  test("counts messages on a topic whose right was revoked as denied", () => {
    const [a, b] = [open("a"), open("b")];
    const all = subscriber(2, ">");
    const opened = publisher.openTopics.get(b);
    if (opened !== undefined) opened.mayPublish = false;
    route([a, b, b, a]);
    expect(messagesTo(all).map(numberOf)).toEqual([0, 3]);
    expect(publisher.counters).toMatchObject({ published: 2, denied: 2 });
  });

  test("does not bring messages to those whom the policy lets not read them", () => {
    const a = open("a");
    const stranger = bench.connect(2, 1_000);
    subscribe(stranger, "a");
    route([a]);
    expect(bench.framesTo(stranger)).toEqual([]);
    expect(publisher.counters).toMatchObject({ published: 1, matched: 0 });
  });

  test("tells the host once of a queue that is to be flushed", () => {
    const a = open("a");
    const all = subscriber(2, ">");
    route([a]);
    route([a]);
    expect(unflushed).toEqual([all]);
  });

  test("counts what a dead subscriber does not get, and tells the host", () => {
    const a = open("a");
    const dead = subscriber(2, ">");
    route([a]);
    bench.framesTo(dead);
    bench.socketOf(dead).isPeerGone = true;
    route([a], DIRECT_SEND_BYTES_MIN);
    expect(gone).toEqual([dead]);
    expect(publisher.counters).toMatchObject({ matched: 2, dropped: 1 });
  });
});

describe("figures", () => {
  test("say of each topic and connection what was delivered, and what was not", () => {
    const stalled = subscriber(2, "a.*");
    const reading = subscriber(3, ">");
    bench.socketOf(stalled).capacity = 0;
    const topics = [open("a.1"), open("a.2"), open("other")];
    let published = 0;
    while (stalled.figures.missed === 0 || published < 3_000) {
      route([...topics, ...topics, ...topics], 4_000);
      published += 9;
      bench.framesTo(reading);
    }
    const missed = stalled.figures.missed;
    expect(reading.figures).toMatchObject({ received: published, missed: 0 });
    expect(stalled.figures.received + missed).toBe((published / 3) * 2);
    expect(figuresOf(publisher)).toMatchObject({ published, dropped: missed });
    expect(figuresOf(publisher).matched).toBe(published + (published / 3) * 2);
    const all = topics.map((id) => publisher.openTopics.get(id)?.topic);
    expect(all.map((topic) => topic?.published)).toEqual(topics.map(() => published / 3));
    const sum = (count: (topic: Topic) => number) =>
      all.reduce((total, topic) => total + (topic === undefined ? 0 : count(topic)), 0);
    expect(sum(({ matched }) => matched)).toBe(figuresOf(publisher).matched);
    expect(sum(({ dropped }) => dropped)).toBe(missed);
    expect(all[2]?.dropped).toBe(0);
  });

  test("keep what was delivered to subscribers that came and went", () => {
    const topic = open("a");
    const first = subscriber(2, "a");
    const matched = () => publisher.openTopics.get(topic)?.topic.matched;
    route([topic, topic]);
    const second = subscriber(3, "a", "*");
    route([topic]);
    expect(matched()).toBe(2 + 2);
    leave(first);
    route([topic, topic, topic]);
    expect(matched()).toBe(4 + 3);
    leave(second);
    route([topic]);
    expect(matched()).toBe(7);
    expect([first.figures.received, second.figures.received]).toEqual([3, 4]);
  });

  test("count a message that is too large as denied, and as nothing else", () => {
    const reading = subscriber(2, ">");
    const [small, other] = [open("small"), open("other")];
    const opened = publisher.openTopics.get(small);
    if (opened === undefined) throw new Error("It is not open");
    opened.messageBytesMax = 7;
    route([other, small, other, small, small, other], 8);
    expect(figuresOf(publisher)).toMatchObject({ published: 3, denied: 3, matched: 3 });
    expect([opened.topic.published, reading.figures.received]).toEqual([0, 3]);
    expect(tooLarge).toEqual([
      [small, 8],
      [small, 8],
      [small, 8],
    ]);
  });
});

describe("Router.routeWithFds()", () => {
  function routeWithFds(topicId: number, fdCount: number): void {
    const bundle = bench.kernel.bundle(fdCount, 0, publisher.fdAccount);
    const fields = { topic: topicId, number: 0, bodyBytes: 8, fdCount };
    const bytes = frames.messages([fields]);
    const opened = publisher.openTopics.get(topicId);
    if (opened === undefined) throw new Error("The topic is not open");
    router.routeWithFds(publisher, opened, frames.buffer, bytes, bundle);
    bundle.release();
  }

  test("gives the fds to every subscriber and closes them once", () => {
    const a = open("a");
    const all = [2, 3, 4].map((id) => subscriber(id, "a"));
    routeWithFds(a, 3);
    expect(bench.kernel.openFds.size).toBe(3);
    for (const each of all) expect(messagesTo(each)).toMatchObject([{ fdCount: 3, origin: 1 }]);
    expect(bench.kernel.openFds.size).toBe(0);
    expect(publisher.counters).toMatchObject({ published: 1, matched: 3 });
  });

  test("charges a queue group for one copy, whoever of it gets that", () => {
    const a = open("a");
    for (const id of [2, 3, 4])
      state.subscribe(bench.connect(id), "a", { group: "g", overflow: undefined });
    const plain = subscriber(5, "a");
    for (const connection of bench.connections) bench.socketOf(connection).capacity = 0;
    routeWithFds(a, 3);
    expect(publisher.fdAccount.waiting).toBe(6);
    for (const connection of bench.connections) connection.queue.abandon();
    expect(publisher.fdAccount.waiting).toBe(0);
    expect(plain.queue.messagesAbandoned).toBe(1);
    expect(bench.kernel.openFds.size).toBe(0);
  });

  test("closes the fds where nobody listens", () => {
    routeWithFds(open("a"), 2);
    expect(bench.kernel.openFds.size).toBe(0);
  });

  test("withholds them from a subscriber whose kernel refuses them", () => {
    const a = open("a");
    const refusing = subscriber(2, "a");
    bench.socketOf(refusing).refusesFds = true;
    routeWithFds(a, 2);
    expect(messagesTo(refusing)).toMatchObject([{ flags: FLAG_FDS_WITHHELD, fdCount: 0 }]);
    expect(bench.kernel.openFds.size).toBe(0);
  });
});

describe("Router.routeWithFds() to a subscriber without the right", () => {
  const POLICY = `
[[rule]]
allow = ["publish", "subscribe", "send-fds", "receive-fds"]
topics = [">"]
any = true

[[rule]]
deny = ["receive-fds"]
topics = [">"]
uid = 7

[[topic]]
topics = ["whole"]
fds-denied = "drop"
`;

  /** Publishes on a topic that uid 0 and uid 7 subscribed to. @returns what each got */
  function routeToBoth(topic: string): SentFrame[][] {
    state.replacePolicy(parse(POLICY));
    const both = [bench.connect(2), bench.connect(3, 7)];
    for (const each of both) subscribe(each, topic);
    const topicId = open(topic);
    const bytes = frames.messages([{ topic: topicId, number: 1, bodyBytes: 8, fdCount: 2 }]);
    const bundle = bench.kernel.bundle(2);
    const opened = publisher.openTopics.get(topicId);
    if (opened === undefined) throw new Error("The topic is not open");
    router.routeWithFds(publisher, opened, frames.buffer, bytes, bundle);
    bundle.release();
    return both.map(messagesTo);
  }

  test("brings the message alone", () => {
    const [withRight, without] = routeToBoth("parts");
    expect(withRight).toMatchObject([{ fdCount: 2 }]);
    expect(without).toMatchObject([{ flags: FLAG_FDS_WITHHELD, fdCount: 0 }]);
    expect(publisher.counters).toMatchObject({ published: 1, matched: 2, dropped: 0 });
    expect(bench.kernel.openFds.size).toBe(0);
  });

  test("brings nothing where the topic says so, and does not count it", () => {
    const [withRight, without] = routeToBoth("whole");
    expect(withRight).toMatchObject([{ fdCount: 2 }]);
    expect(without).toEqual([]);
    expect(publisher.counters).toMatchObject({ published: 1, matched: 1, dropped: 0 });
    expect(bench.kernel.openFds.size).toBe(0);
  });

  test("looks the setting up again for another policy", () => {
    routeToBoth("whole");
    const topic = state.topics.find("whole");
    if (topic === undefined) throw new Error("The topic is not open");
    const rules = state.fdRulesOf(topic);
    expect(state.fdRulesOf(topic)).toBe(rules);
    state.replacePolicy(parse(POLICY.replace('"drop"', '"withhold"')));
    expect(state.fdRulesOf(topic).areAllOrNothing).toBe(false);
  });
});

describe("Introductions", () => {
  /** Opcodes and ids, with the name for TOPIC. */
  function story(connection: Connection): unknown[] {
    return bench.framesTo(connection).map(({ opcode, id, body }) => {
      if (opcode !== OPCODE.TOPIC) return [opcode, id];
      return [opcode, id, decodeTopicBody(body, 0, body.byteLength).topic];
    });
  }

  test("come before the first message and once", () => {
    const a = open("a");
    const all = subscriber(2, ">");
    route([a, a]);
    route([a]);
    expect(story(all)).toEqual([
      [OPCODE.TOPIC, a, "a"],
      [OPCODE.SENDER, publisher.id],
      [OPCODE.MESSAGE, a],
      [OPCODE.MESSAGE, a],
      [OPCODE.MESSAGE, a],
    ]);
  });

  test("tell the new name of an id before it is used", () => {
    const all = subscriber(2, ">");
    const first = open("first");
    route([first]);
    const opened = publisher.openTopics.get(first);
    publisher.openTopics.delete(first);
    if (opened !== undefined) state.topics.release(opened.topic);
    const second = open("second");
    expect(second).toBe(first);
    route([second]);
    expect(story(all)).toEqual([
      [OPCODE.TOPIC, first, "first"],
      [OPCODE.SENDER, publisher.id],
      [OPCODE.MESSAGE, first],
      [OPCODE.TOPIC, first, "second"],
      [OPCODE.MESSAGE, first],
    ]);
  });

  test("reach a subscriber that came later, or came back", () => {
    const a = open("a");
    const early = subscriber(2, "a");
    route([a]);
    const late = subscriber(3, "a");
    route([a]);
    expect(story(late).slice(0, 2)).toEqual([
      [OPCODE.TOPIC, a, "a"],
      [OPCODE.SENDER, publisher.id],
    ]);
    expect(story(early)).toHaveLength(4);
    leave(late);
    const again = subscriber(4, "a");
    route([a]);
    expect(story(again)).toHaveLength(3);
    expect(story(early)).toEqual([[OPCODE.MESSAGE, a]]);
  });

  test("that a client has no room for are looked for on their topic alone", () => {
    const [flood, late, other] = [open("flood"), open("late"), open("other")];
    const slow = subscriber(2, "flood", "late");
    subscriber(3, "other");
    bench.socketOf(slow).capacity = 0;
    while (!slow.queue.losses.isShedding) route([flood], 60_000);
    route([late, other]);
    const routeOf = spyOn(state, "routeOf");
    route([other]);
    expect(routeOf).not.toHaveBeenCalled();
    route([late]);
    expect(routeOf).toHaveBeenCalledTimes(1);
    bench.socketOf(slow).capacity = Number.POSITIVE_INFINITY;
    expect(story(slow)).not.toContainEqual([OPCODE.TOPIC, late, "late"]);
    route([late]);
    expect(story(slow)).toEqual([
      [OPCODE.TOPIC, late, "late"],
      [OPCODE.MESSAGE, late],
    ]);
    routeOf.mockClear();
    route([late]);
    expect(routeOf).not.toHaveBeenCalled();
  });

  test("are taken back from those who were told, when a sender leaves", () => {
    const a = open("a");
    const told = subscriber(2, "a");
    const untold = subscriber(3, "b");
    route([a]);
    leave(publisher);
    expect(story(told).at(-1)).toEqual([OPCODE.SENDER_GONE, publisher.id]);
    expect(story(untold)).toEqual([]);
    leave(untold);
    expect(state.topics.size).toBe(0);
  });
});
