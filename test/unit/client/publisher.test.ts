import { beforeEach, describe, expect, test } from "bun:test";
import { OPEN_TOPICS_MAX } from "../../../src/client/limits.ts";
import { Outbound } from "../../../src/client/outbound.ts";
import { Publisher } from "../../../src/client/publisher.ts";
import { ArgumentError, LimitError, RejectedError } from "../../../src/errors.ts";
import { LARGE_BODY_BYTES_MAX } from "../../../src/protocol/limits.ts";
import { OPCODE } from "../../../src/protocol/opcodes.ts";
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

beforeEach(() => {
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
    const before = openNumbers();
    using files = new TestFiles(["a"]);
    publisher.publish("a", Uint8Array.of(1), { fds: files.fds });
    let calls = 0;
    publisher.barrier(() => {
      calls += 1;
    });
    publisher.clear();
    expect(calls).toBe(1);
    expect(openNumbers()).toBe(before + 1);
    await grant("a", 5);
    expect(transport.packets).toEqual([]);
  });
});

/** Memfds that are open in this process. */
function openNumbers(): number {
  let count = 0;
  for (let fd = 0; fd < 256; fd += 1) if (isOpenFd(fd)) count += 1;
  return count;
}

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
