import { beforeEach, describe, expect, test } from "bun:test";
import {
  OPEN_TOPICS_MAX,
  OUTBOUND_BYTES_HIGH,
  OUTBOUND_BYTES_MAX,
} from "../../../src/client/limits.ts";
import { Outbound } from "../../../src/client/outbound.ts";
import { Publisher } from "../../../src/client/publisher.ts";
import { ArgumentError, LimitError, RejectedError } from "../../../src/errors.ts";
import { LARGE_BODY_BYTES_MAX } from "../../../src/protocol/limits.ts";
import { OPCODE } from "../../../src/protocol/opcodes.ts";
import { OwnFds } from "../../support/open-files.ts";
import { TestFiles } from "../../support/test-files.ts";
import { isOpenFd, SimulatedTransport } from "./simulated-transport.ts";

/** A topic that was asked for and waits for its answer. */
interface Asked {
  readonly grant: (id: number) => void;
  readonly refuse: (error: Error) => void;
}

let transport: SimulatedTransport;
let outbound: Outbound;
let publisher: Publisher;
let asked: Map<string, Asked>;
let denied: Error[];
/** Memory of test files. */
let ownFds: OwnFds;

beforeEach(() => {
  ownFds = new OwnFds(/^\/memfd:/);
  transport = new SimulatedTransport();
  outbound = new Outbound(() => {});
  outbound.attach(transport);
  asked = new Map();
  denied = [];
  const ask = (name: string) =>
    new Promise<number>((grant, refuse) => asked.set(name, { grant, refuse }));
  publisher = new Publisher(outbound, ask, (error) => void denied.push(error));
});

function say(topic: string, number: number): void {
  publisher.publish(topic, Uint8Array.of(number));
}

/** Answers, and lets promises run. */
async function grant(topic: string, id: number): Promise<void> {
  asked.get(topic)?.grant(id);
  await settle();
}

async function refuse(topic: string): Promise<Error> {
  const error = new RejectedError("REJECTED_BY_POLICY", "no", { status: 32, topic });
  asked.get(topic)?.refuse(error);
  await settle();
  return error;
}

async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  outbound.flush();
}

describe("Publisher.publish()", () => {
  test("asks for a topic once and sends under its id", async () => {
    say("a", 1);
    say("a", 2);
    expect([...asked.keys()]).toEqual(["a"]);
    expect(transport.packets).toEqual([]);
    await grant("a", 5);
    say("a", 3);
    outbound.flush();
    expect(transport.numbers()).toEqual([1, 2, 3]);
    expect(transport.frames().map(({ id }) => id)).toEqual([5, 5, 5]);
  });

  test("keeps the order over topics, whichever is answered first", async () => {
    say("a", 1);
    say("b", 2);
    say("a", 3);
    say("c", 4);
    await grant("b", 6);
    await grant("c", 7);
    expect(transport.packets).toEqual([]);
    say("b", 5);
    await grant("a", 5);
    expect(transport.numbers()).toEqual([1, 2, 3, 4, 5]);
  });

  test("lets messages of a refused topic go, and the others past them", async () => {
    using files = new TestFiles(["a"]);
    publisher.publish("bad", Uint8Array.of(1), { fds: files.fds });
    say("good", 2);
    say("bad", 3);
    await grant("good", 6);
    const error = await refuse("bad");
    expect(transport.numbers()).toEqual([2]);
    expect(denied).toEqual([error, error]);
    expect(() => say("bad", 4)).toThrow(error);
  });

  test("copies what it holds", async () => {
    const body = Uint8Array.of(1);
    publisher.publish("a", body);
    body[0] = 99;
    await grant("a", 5);
    expect(transport.numbers()).toEqual([1]);
  });

  test("holds duplicates of fds, so the caller may close its own", async () => {
    {
      using files = new TestFiles(["a", "b"]);
      publisher.publish("a", Uint8Array.of(1), {
        fds: [files.fds[0] ?? -1, { fd: files.fds[1] ?? -1 }],
      });
    }
    await grant("a", 5);
    const [packet] = transport.packets;
    expect(packet?.fds).toHaveLength(2);
    expect(packet?.fds.some(isOpenFd)).toBe(false);
  });

  test("says false where much waits", () => {
    expect(publisher.publish("a", new Uint8Array(60_000))).toBe(true);
    let result = true;
    for (let count = 0; count < 20; count += 1) {
      result = publisher.publish("a", new Uint8Array(60_000));
    }
    expect(result).toBe(false);
  });

  test("refuses what no broker would take, before it asks for anything", () => {
    expect(() => say("a..b", 1)).toThrow(ArgumentError);
    expect([...asked.keys()]).toEqual([]);
    expect(() => publisher.publish("a", new Uint8Array(LARGE_BODY_BYTES_MAX + 1))).toThrow(
      LimitError,
    );
    expect(() => publisher.publish("a", 1, { fds: [Number.NaN] })).toThrow(ArgumentError);
    expect(() => publisher.publish("a", 1, { fds: new Array(254).fill(0) })).toThrow(LimitError);
  });
});

describe("Publisher.barrier()", () => {
  test("calls back at once where nothing is held", () => {
    let calls = 0;
    publisher.barrier(() => {
      calls += 1;
    });
    expect(calls).toBe(1);
  });

  test("calls back in its place among held messages", async () => {
    const seen: string[] = [];
    say("a", 1);
    publisher.barrier(() => void seen.push("after a"));
    say("b", 2);
    publisher.barrier(() => void seen.push("after b"));
    await grant("a", 5);
    expect(seen).toEqual(["after a"]);
    await refuse("b");
    expect(seen).toEqual(["after a", "after b"]);
  });
});

describe("Publisher.clear()", () => {
  test("closes held fds and calls back every barrier", async () => {
    const before = ownFds.count;
    using files = new TestFiles(["a"]);
    publisher.publish("a", Uint8Array.of(1), { fds: files.fds });
    let calls = 0;
    publisher.barrier(() => {
      calls += 1;
    });
    publisher.clear();
    expect(calls).toBe(1);
    expect(ownFds.count).toBe(before + 1);
    await grant("a", 5);
    expect(transport.packets).toEqual([]);
  });
});

describe("Publisher with very many topics", () => {
  const opened = () => [...asked.keys()];

  /** Opens topics t.0 and on, one after another, with their numbers from 1 as ids. */
  async function openMany(count: number): Promise<void> {
    for (let number = 0; number < count; number += 1) {
      say(`t.${number}`, 1);
      asked.get(`t.${number}`)?.grant(number + 1);
    }
    await settle();
  }

  test("closes the half that was used longest ago, behind their messages", async () => {
    await openMany(OPEN_TOPICS_MAX);
    say("t.0", 2);
    asked.clear();
    say("one.more", 1);
    await settle();
    const frames = transport.frames();
    const closed = frames.filter(({ opcode }) => opcode === OPCODE.CLOSE_TOPIC);
    expect(closed).toHaveLength(OPEN_TOPICS_MAX / 2);
    expect(closed.map(({ id }) => id)).not.toContain(1);
    const lastMessage = frames.findLastIndex(({ opcode }) => opcode === OPCODE.MESSAGE);
    expect(frames.findIndex(({ opcode }) => opcode === OPCODE.CLOSE_TOPIC)).toBeGreaterThan(
      lastMessage,
    );
    say("t.0", 3);
    say("t.1", 3);
    expect(opened()).toEqual(["one.more", "t.1"]);
  });

  test("keeps topics open that messages wait for", async () => {
    say("first", 1);
    for (let number = 1; number < OPEN_TOPICS_MAX; number += 1) say(`t.${number}`, 1);
    say("one.more", 1);
    await settle();
    const frames = transport.frames();
    expect(frames.filter(({ opcode }) => opcode === OPCODE.CLOSE_TOPIC)).toEqual([]);
  });

  test("asks again for a topic that there was no room for", async () => {
    say("a", 1);
    asked.get("a")?.refuse(new LimitError("LIMIT_TOPICS", "too many", { limit: 1, actual: 1 }));
    await settle();
    expect(denied).toHaveLength(1);
    asked.clear();
    say("a", 2);
    expect(opened()).toEqual(["a"]);
    await grant("a", 5);
    expect(transport.packets).toHaveLength(1);
  });
});

describe("Publisher.publish() with retain", () => {
  test.each([
    [{ retainFor: 5 }],
    [{ retain: true, retainFor: 0 }],
    [{ retain: true, retainFor: 1.5 }],
    [{ retain: true, retainFor: 2 ** 32 }],
    [{ retain: true, retainFor: Number.NaN }],
  ])("refuses %j, and asks for no topic", (options) => {
    expect(() => publisher.publish("a", "x", options)).toThrow(ArgumentError);
    expect([...asked.keys()]).toEqual([]);
  });

  test("publishes as ever without it", async () => {
    publisher.publish("a", Uint8Array.of(1), { retain: false });
    await grant("a", 5);
    expect(transport.frames().map(({ opcode }) => opcode)).toEqual([OPCODE.MESSAGE]);
  });
});

describe("Publisher.suspend() and resume()", () => {
  /** Goes over to another connection. */
  function reconnect(): void {
    publisher.suspend(outbound.detach(), OUTBOUND_BYTES_MAX);
    transport = new SimulatedTransport();
    asked.clear();
    outbound.attach(transport);
    publisher.resume();
  }

  test("keep what did not leave, and ask for its topics anew", async () => {
    say("a", 1);
    await grant("a", 5);
    transport.room = 0;
    say("a", 2);
    say("b", 3);
    reconnect();
    expect([...asked.keys()]).toEqual(["a", "b"]);
    await grant("b", 5);
    await grant("a", 6);
    expect(transport.frames().map(({ id, body }) => [id, body[0]])).toEqual([
      [6, 2],
      [5, 3],
    ]);
    say("a", 4);
    outbound.flush();
    expect(transport.numbers()).toEqual([2, 3, 4]);
  });

  test("keep messages that are to be retained as such", async () => {
    using files = new TestFiles(["a"]);
    say("a", 1);
    await grant("a", 5);
    transport.room = 0;
    publisher.publish("a", Uint8Array.of(2), { retain: true, retainFor: 258 });
    outbound.flush();
    publisher.publish("a", Uint8Array.of(3), { retain: true, fds: files.fds });
    publisher.publish("b", Uint8Array.of(4), { retain: true });
    expect(outbound.messageCount).toBe(3);
    reconnect();
    await grant("a", 6);
    await grant("b", 7);
    const frames = transport.frames();
    expect(frames.map(({ opcode, id }) => [opcode, id])).toEqual([
      [OPCODE.RETAIN, 6],
      [OPCODE.RETAIN, 6],
      [OPCODE.RETAIN, 7],
    ]);
    expect(frames.map(({ body }) => [...body])).toEqual([
      [2, 1, 0, 0, 0, 0, 0, 0, 2],
      [0, 0, 0, 0, 0, 0, 0, 0, 3],
      [0, 0, 0, 0, 0, 0, 0, 0, 4],
    ]);
    expect(transport.packets.map(({ fds }) => fds.length)).toEqual([0, 1, 0]);
  });

  test("ask for no topic that nothing waits for, until something does", async () => {
    say("a", 1);
    await grant("a", 5);
    reconnect();
    expect([...asked.keys()]).toEqual([]);
    say("a", 2);
    expect([...asked.keys()]).toEqual(["a"]);
  });

  test("do not listen to answers of the connection before", async () => {
    say("a", 1);
    const late = asked.get("a");
    reconnect();
    say("b", 2);
    await grant("a", 6);
    await grant("b", 5);
    late?.grant(5);
    await settle();
    transport.room = 0;
    say("b", 3);
    reconnect();
    expect([...asked.keys()]).toEqual(["b"]);
  });

  test("forget what was denied: the next broker may think otherwise", async () => {
    say("a", 1);
    await refuse("a");
    expect(() => say("a", 2)).toThrow(RejectedError);
    reconnect();
    say("a", 3);
    await grant("a", 5);
    expect(transport.numbers()).toEqual([3]);
  });

  test("keep barriers behind the messages that they wait for", async () => {
    let isPassed = false;
    say("a", 1);
    publisher.barrier(() => {
      isPassed = true;
    });
    reconnect();
    expect(isPassed).toBe(false);
    await grant("a", 5);
    expect(isPassed).toBe(true);
  });

  test("send no faster than the broker reads", async () => {
    publisher.suspend(outbound.detach(), OUTBOUND_BYTES_MAX);
    const body = new Uint8Array(60_000);
    const count = Math.ceil((3 * OUTBOUND_BYTES_HIGH) / body.byteLength);
    for (let index = 0; index < count; index += 1) publisher.publish("a", body);
    transport.room = 0;
    outbound.attach(transport);
    publisher.resume();
    await grant("a", 5);
    expect(outbound.waitingBytes).toBeLessThan(OUTBOUND_BYTES_HIGH + 2 * 65_536);
    while (publisher.holdsMessages) {
      transport.room = 4;
      outbound.onWritable();
      expect(outbound.waitingBytes).toBeLessThan(OUTBOUND_BYTES_HIGH + 2 * 65_536);
    }
    transport.room = Number.POSITIVE_INFINITY;
    outbound.onWritable();
    expect(transport.frames()).toHaveLength(count);
  });

  test("close the files of what is let go meanwhile, and say how much it was", () => {
    using files = new TestFiles(["a"]);
    transport.room = 0;
    publisher.suspend([], OUTBOUND_BYTES_MAX);
    const before = ownFds.count;
    publisher.publish("a", 1, { fds: files.fds });
    say("b", 2);
    expect(ownFds.count).toBe(before + 1);
    expect(publisher.clear()).toBe(2);
    expect(ownFds.count).toBe(before);
    publisher.resume();
    expect([...asked.keys()]).toEqual([]);
  });
});
