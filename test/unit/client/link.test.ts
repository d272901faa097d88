import { beforeEach, describe, expect, test } from "bun:test";
import { Bus } from "../../../src/client/bus.ts";
import type { Clock } from "../../../src/client/clock.ts";
import { DISCONNECTED_REQUEST_MS } from "../../../src/client/limits.ts";
import { Link } from "../../../src/client/link.ts";
import type { TransportEvents } from "../../../src/client/packet-socket.ts";
import { planReconnect, type ReconnectOptions } from "../../../src/client/reconnection.ts";
import type { StatusEvent } from "../../../src/client/status.ts";
import { RejectedError, SyscallError } from "../../../src/errors.ts";
import type { ControlMap } from "../../../src/protocol/control-body.ts";
import {
  decodeOpenTopic,
  goodbyeBody,
  openTopicAckBody,
  type SyncAck,
  subscribeAckBody,
  syncAckBody,
} from "../../../src/protocol/control-messages.ts";
import { OPCODE } from "../../../src/protocol/opcodes.ts";
import { PacketWriter } from "../../../src/protocol/packet.ts";
import { STATUS } from "../../../src/protocol/status-codes.ts";
import { type SentFrame, SimulatedTransport } from "./simulated-transport.ts";

/** Time that passes when told to. */
class FakeClock implements Clock {
  readonly timers = new Map<() => void, number>();
  #now = 0;

  now(): number {
    return this.#now;
  }

  startTimer(callback: () => void, ms: number): () => void {
    this.timers.set(callback, this.#now + ms);
    return () => this.timers.delete(callback);
  }

  /** Milliseconds until the next timer. */
  get nextMs(): number {
    return Math.min(...this.timers.values()) - this.#now;
  }

  async pass(ms: number): Promise<void> {
    this.#now += ms;
    for (const [callback, dueAt] of [...this.timers]) {
      if (dueAt > this.#now) continue;
      this.timers.delete(callback);
      callback();
    }
    await settle();
  }
}

/** One connection as the broker's side sees it. */
class FakeConnection {
  readonly transport = new SimulatedTransport();
  readonly events: TransportEvents;
  #answered = 0;

  constructor(events: TransportEvents) {
    this.events = events;
  }

  /** Requests and messages that have not been looked at yet. */
  newFrames(): SentFrame[] {
    const frames = this.transport.frames();
    const fresh = frames.slice(this.#answered);
    this.#answered = frames.length;
    return fresh;
  }

  /** Answers what came as a broker does that grants everything. @returns the opcodes */
  async answer(): Promise<number[]> {
    await settle();
    const frames = this.newFrames();
    for (const frame of frames) {
      const body = answerTo(frame);
      if (body !== undefined) this.say(OPCODE.ACK, frame.id, body);
    }
    await settle();
    return frames.map(({ opcode }) => opcode);
  }

  say(opcode: number, id: number, body: ControlMap): void {
    const writer = new PacketWriter();
    writer.appendControl(opcode, 0, id, body);
    this.events.onPacket(writer.bytes.slice(0, writer.packetBytes));
  }
}

const SYNC_ACK: SyncAck = {
  published: 1,
  matched: 0,
  delivered: 0,
  dropped: 0,
  queued: 0,
  denied: 0,
  lostLater: 0,
  superseded: 0,
  fdsWaiting: 0,
  fdsExpired: 0,
};

function answerTo({ opcode, body }: SentFrame): ControlMap | undefined {
  if (opcode === OPCODE.SUBSCRIBE) return subscribeAckBody({ subscription: 3 });
  if (opcode === OPCODE.OPEN_TOPIC) {
    const { topic } = decodeOpenTopic(body, 0, body.byteLength);
    return openTopicAckBody({ topic: topic.charCodeAt(0), sendFds: true });
  }
  if (opcode !== OPCODE.SYNC) return undefined;
  return syncAckBody(SYNC_ACK);
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

let clock: FakeClock;
let connections: FakeConnection[];
/** What the next attempts meet; nothing: they succeed. */
let failures: Error[];
let attempts: number;
let events: StatusEvent[];

beforeEach(() => {
  clock = new FakeClock();
  connections = [];
  failures = [];
  attempts = 0;
  events = [];
});

const ABSENT = new SyscallError("", { code: "ECONNREFUSED", errno: 111, syscall: "connect" });

async function openBus(choice: boolean | ReconnectOptions = true): Promise<Bus> {
  const link = new Link({
    path: "/run/x",
    plan: planReconnect(choice),
    clock,
    random: () => 1,
    dial: async (transportEvents) => {
      attempts += 1;
      const failure = failures.shift();
      if (failure !== undefined) throw failure;
      const connection = new FakeConnection(transportEvents);
      connections.push(connection);
      const self = { connection: connections.length, uid: 1, gid: 1, pid: 1 };
      return { self, features: 0, transport: connection.transport };
    },
  });
  await link.open({});
  const bus = new Bus(link);
  void (async () => {
    for await (const event of bus.status()) events.push(event);
  })();
  return bus;
}

/** The present connection. */
function connection(): FakeConnection {
  return connections.at(-1) as FakeConnection;
}

async function lose(): Promise<void> {
  connection().events.onClose(undefined);
  await settle();
}

describe("Link", () => {
  test("tries again with growing pauses, by its clock, until somebody answers", async () => {
    const bus = await openBus();
    failures = [ABSENT, ABSENT, ABSENT];
    await lose();
    const pauses: number[] = [];
    while (!bus.isConnected) {
      pauses.push(clock.nextMs);
      await clock.pass(clock.nextMs);
    }
    expect(pauses).toEqual([50, 100, 200, 400]);
    expect(attempts).toBe(5);
    expect(bus.self.connection).toBe(2);
    expect(events.at(-1)).toEqual({ type: "connected", attempts: 4, self: bus.self });
    expect(clock.timers.size).toBe(0);
  });

  test("does not try again where another attempt would meet the same", async () => {
    const bus = await openBus();
    const refusal = new RejectedError("REJECTED_BROKER", "no", { status: 0 });
    failures = [ABSENT, refusal];
    await lose();
    await clock.pass(50);
    await clock.pass(100);
    expect(await bus.closed()).toBe(refusal);
    expect(attempts).toBe(3);
    expect(clock.timers.size).toBe(0);
  });

  test.each([
    ["LIMIT_SLOW_READER", STATUS.LIMIT_SLOW_READER, "disconnect", true],
    ["LIMIT_SLOW_READER", STATUS.LIMIT_SLOW_READER, "block", false],
    ["CLOSED_BY_BROKER", STATUS.CLOSED_BY_BROKER, "disconnect", false],
  ] as const)(
    "after a goodbye with %s and %d looks for another broker, or where it asked to %s does not",
    async (code, status, overflow, ends) => {
      const bus = await openBus();
      const subscribing = bus.subscribe("a", { overflow });
      await connection().answer();
      await subscribing;
      connection().say(OPCODE.GOODBYE, 0, goodbyeBody({ status, message: "bye" }));
      await lose();
      expect(clock.timers.size).toBe(ends ? 0 : 1);
      expect(events[0]).toMatchObject({ type: ends ? "closed" : "disconnected", error: { code } });
      await bus.close();
    },
  );

  test("ends an attempt and its pause with the bus", async () => {
    const bus = await openBus();
    await lose();
    expect(clock.timers.size).toBe(1);
    await bus.close();
    expect(clock.timers.size).toBe(0);
    await settle();
    expect(attempts).toBe(1);
  });

  test("does not hear what a lost connection still says", async () => {
    const bus = await openBus();
    const old = connection();
    await lose();
    await clock.pass(50);
    expect(bus.isConnected).toBe(true);
    old.events.onPacket(Uint8Array.of(1, 2, 3));
    old.events.onClose(undefined);
    old.events.onWritable();
    await settle();
    expect(bus.isConnected).toBe(true);
  });

  test("goes on where the new connection is lost before all is restored", async () => {
    const bus = await openBus();
    const subscribing = bus.subscribe("a");
    await connection().answer();
    const subscription = await subscribing;
    await lose();
    await clock.pass(50);
    expect(bus.isConnected).toBe(false);
    expect(
      connection()
        .newFrames()
        .map(({ opcode }) => opcode),
    ).toEqual([OPCODE.SUBSCRIBE]);
    await lose();
    await clock.pass(100);
    expect(await connection().answer()).toEqual([OPCODE.SUBSCRIBE]);
    expect(bus.isConnected).toBe(true);
    expect(events.map(({ type }) => type)).toEqual(["disconnected", "gap", "connected"]);
    expect(subscription.disconnects).toBe(1);
  });

  test("takes back at the broker what was closed while it was restored", async () => {
    const bus = await openBus();
    const subscribing = bus.subscribe("a");
    await connection().answer();
    const subscription = await subscribing;
    await lose();
    await clock.pass(50);
    await subscription.close();
    expect(await connection().answer()).toEqual([OPCODE.SUBSCRIBE]);
    await settle();
    expect(await connection().answer()).toEqual([OPCODE.UNSUBSCRIBE]);
    expect(bus.isConnected).toBe(true);
  });

  test("ends the bus where the new connection breaks the protocol", async () => {
    const bus = await openBus();
    await lose();
    await clock.pass(50);
    connection().events.onPacket(Uint8Array.of(1, 2, 3));
    expect(await bus.closed()).toMatchObject({ code: "PROTOCOL_PACKET_SIZE" });
    expect(connection().transport.isClosed).toBe(true);
  });
});

describe("a request while there is no connection", () => {
  test("waits for the next one, and is asked there in its turn", async () => {
    const bus = await openBus();
    const first = bus.subscribe("a");
    await settle();
    await lose();
    const second = bus.subscribe("b");
    await clock.pass(50);
    const opcodes = await connection().answer();
    expect(opcodes).toEqual([OPCODE.SUBSCRIBE, OPCODE.SUBSCRIBE]);
    expect((await first).pattern).toBe("a");
    expect((await second).pattern).toBe("b");
  });

  test("is CLOSED_DISCONNECTED where none comes in time", async () => {
    const bus = await openBus();
    failures = Array.from({ length: 100 }, () => ABSENT);
    await lose();
    const answer = bus.subscribe("a").catch((error: unknown) => error);
    await clock.pass(DISCONNECTED_REQUEST_MS);
    expect(await answer).toMatchObject({ code: "CLOSED_DISCONNECTED" });
    await bus.close();
  });
});

describe("messages of a lost connection", () => {
  test("go out on the next one under its ids where they did not leave, and are counted where they did", async () => {
    const bus = await openBus();
    bus.publish("a", Uint8Array.of(1));
    bus.publish("b", Uint8Array.of(2));
    await connection().answer();
    await settle();
    connection().transport.room = 0;
    bus.publish("b", Uint8Array.of(3));
    await settle();
    bus.publish("a", Uint8Array.of(4));
    bus.publish("c", Uint8Array.of(5));
    await lose();
    expect(events[0]).toMatchObject({ type: "disconnected", unconfirmed: 2 });
    bus.publish("a", Uint8Array.of(6));
    await clock.pass(50);
    expect(await connection().answer()).toEqual([
      OPCODE.OPEN_TOPIC,
      OPCODE.OPEN_TOPIC,
      OPCODE.OPEN_TOPIC,
    ]);
    const sent = connection().newFrames();
    expect(sent.map(({ body }) => body[0])).toEqual([3, 4, 5, 6]);
    expect(sent.map(({ id }) => String.fromCharCode(id))).toEqual(["b", "a", "c", "a"]);
  });

  test("are not counted where a flush vouched for them", async () => {
    const bus = await openBus();
    bus.publish("a", Uint8Array.of(1));
    const flushed = bus.flush();
    await connection().answer();
    expect(await connection().answer()).toEqual([OPCODE.MESSAGE, OPCODE.SYNC]);
    await flushed;
    bus.publish("a", Uint8Array.of(2));
    await settle();
    await lose();
    expect(events[0]).toMatchObject({ unconfirmed: 1 });
    const error = await bus.flush().catch((rejection: unknown) => rejection);
    expect(error).toMatchObject({
      code: "CLOSED_DISCONNECTED",
      message: expect.stringContaining("1 message:"),
    });
  });

  test("are all counted, and dropped, where none are to be kept", async () => {
    const bus = await openBus({ whileDisconnected: "refuse" });
    bus.publish("a", Uint8Array.of(1));
    await connection().answer();
    connection().transport.room = 0;
    await settle();
    bus.publish("a", Uint8Array.of(2));
    bus.publish("b", Uint8Array.of(3));
    await lose();
    expect(events[0]).toMatchObject({ unconfirmed: 3 });
    await clock.pass(50);
    expect(await connection().answer()).toEqual([]);
  });

  test("do not end a flush that none of them could have been lost for", async () => {
    const bus = await openBus();
    const flushed = bus.flush();
    await settle();
    await lose();
    bus.publish("a", Uint8Array.of(1));
    await clock.pass(50);
    await connection().answer();
    await connection().answer();
    expect(await flushed).toMatchObject({ published: 1 });
  });
});
