/** Receipts, back-pressure and gaps as programs see them, on a real broker. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import {
  type Bus,
  connect,
  GapError,
  type Message,
  RejectedError,
  type StatusEvent,
} from "../../src/client/index.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { eventually } from "../support/eventually.ts";
import { rejectionOf } from "../support/mortal-broker.ts";
import { RawClient } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { TestFiles } from "../support/test-files.ts";

let broker: SpawnedBroker;
let bus: Bus;

beforeAll(async () => {
  broker = await spawnBroker();
});

beforeEach(async () => {
  bus = await connect({ path: broker.path });
});

afterEach(async () => {
  await bus.close();
});

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
});

describe("Bus.publish() with a receipt", () => {
  test("tells what became of that message alone, and flush() still tells all", async () => {
    await using other = await connect({ path: broker.path });
    await other.subscribe("a");
    for (let index = 0; index < 10; index += 1) bus.publish("a", index);
    bus.publish("b", 0);
    const first = bus.publish("a", 1, { receipt: true });
    const second = bus.publish("b", 1, { receipt: true });
    bus.publish("a", 2);
    const counted = { published: 1, matched: 1, delivered: 1, queued: 0, dropped: 0, denied: 0 };
    const one = { ...counted, fdsWaiting: 0, fdsExpired: 0 };
    expect(await first).toEqual(one);
    expect(await second).toEqual({ ...one, matched: 0, delivered: 0 });
    const all = { ...one, published: 14, matched: 12, delivered: 12, lostLater: 0, superseded: 0 };
    expect(await bus.flush()).toEqual(all);
    expect(await bus.flush()).toMatchObject({ published: 0 });
  });

  test("says which files are on their way, and waits until the last one is taken", async () => {
    await using broker = await spawnBroker();
    await using bus = await connect({ path: broker.path });
    using reader = await RawClient.open(broker.path);
    await reader.subscribe("files");
    using files = new TestFiles(["a"]);
    bus.publish("files", "x", { fds: files.fds });
    expect(await bus.flush()).toMatchObject({ published: 1, fdsWaiting: 1 });
    const taken = bus.flush({ untilFdsTaken: true });
    const frame = await reader.nextOf(OPCODE.MESSAGE);
    for (const fd of frame.fds) closeFd(fd);
    expect(await taken).toMatchObject({ fdsWaiting: 0, fdsExpired: 0 });
  });

  test("rejects where that message is refused, and flush() does not", async () => {
    const policy = `
[[rule]]
allow = ["publish", "subscribe"]
topics = ["good"]
any = true
`;
    await using strict = await spawnBroker({ policy });
    await using client = await connect({ path: strict.path });
    const refused = client.publish("bad", 1, { receipt: true });
    const taken = client.publish("good", 1, { receipt: true });
    expect(await rejectionOf(refused)).toBeInstanceOf(RejectedError);
    expect(await taken).toMatchObject({ published: 1 });
    expect(await client.flush()).toMatchObject({ published: 1 });
    expect(await rejectionOf(client.publish("bad", 1, { receipt: true }))).toMatchObject({
      code: "REJECTED_BY_POLICY",
    });
  });
});

describe("a refusal", () => {
  const policy = `
[[rule]]
allow = ["publish", "subscribe"]
topics = ["good"]
any = true

[[rule]]
allow = ["publish"]
topics = ["small"]
any = true

[[topic]]
topics = ["small"]
message-bytes-max = 64
`;

  test("that a flush rejects with has the receipt of all that was published", async () => {
    await using strict = await spawnBroker({ policy });
    await using client = await connect({ path: strict.path });
    await client.subscribe("good");
    for (let number = 0; number < 5; number += 1) client.publish("good", number);
    for (let number = 0; number < 3; number += 1) client.publish("bad", number);
    const error = await client.flush().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RejectedError);
    const { code, topic, receipt } = error as RejectedError;
    expect({ code, topic }).toEqual({ code: "REJECTED_BY_POLICY", topic: "bad" });
    expect(receipt).toMatchObject({ published: 5, matched: 5, delivered: 5, denied: 3 });
    expect(receipt?.lostLater).toBe(0);
    // It was told, and is in no later one.
    expect(await client.flush()).toMatchObject({ published: 0, denied: 0 });
    const later = () => client.publish("bad", 4);
    expect(later).toThrow(expect.objectContaining({ code, receipt: undefined }));
  });

  test("for a limit has it, too, and that of one message has that one alone", async () => {
    await using strict = await spawnBroker({ policy });
    await using client = await connect({ path: strict.path });
    client.publish("small", "fits");
    client.publish("small", "x".repeat(65));
    const figures = { published: 1, denied: 1 };
    const ofAll = { code: "LIMIT_MESSAGE_BYTES", receipt: figures };
    expect(await rejectionOf(client.flush())).toMatchObject(ofAll);
    client.publish("small", "fits");
    const one = client.publish("small", "x".repeat(65), { receipt: true });
    const ofOne = { code: "LIMIT_MESSAGE_BYTES", receipt: { ...figures, published: 0 } };
    expect(await rejectionOf(one)).toMatchObject(ofOne);
    const unseen = client.publish("bad", 1, { receipt: true });
    const ofUnseen = { code: "REJECTED_BY_POLICY", receipt: { ...figures, published: 0 } };
    expect(await rejectionOf(unseen)).toMatchObject(ofUnseen);
    expect(await client.flush()).toMatchObject({ published: 1, denied: 2 });
  });
});

describe("a subscription with block", () => {
  test("loses nothing however slowly it is read, and holds publishers back", async () => {
    await using publisher = await connect({ path: broker.path });
    const messages = await bus.subscribe("slow", { overflow: "block", queueMessagesMax: 100 });
    const count = 100_000;
    const text = "x".repeat(200);
    const publishing = (async () => {
      for (let number = 0; number < count; number += 1) {
        if (!publisher.publish("slow", `${number} ${text}`)) await publisher.flush();
      }
      await publisher.flush();
    })();
    let mostQueued = 0;
    for (let number = 0; number < count; number += 1) {
      // Stands still until all is full, now and then.
      if (number % 5_000 === 0) await eventually(() => messages.queued >= 100, "more has come");
      const { value } = (await messages.next()) as { value: Message<string> };
      expect(Number.parseInt(value.data, 10)).toBe(number);
      mostQueued = Math.max(mostQueued, messages.queued);
    }
    await publishing;
    expect(messages.lost).toBe(0);
    expect(mostQueued).toBeLessThan(count / 4);
  });

  test("holds publishers back for callbacks that are slow, and loses nothing", async () => {
    await using publisher = await connect({ path: broker.path });
    const seen: unknown[] = [];
    let unfinished = 0;
    let mostUnfinished = 0;
    const messages = await bus.subscribe("work", {
      overflow: "block",
      queueMessagesMax: 20,
      concurrency: 10,
      async onMessage({ data }) {
        seen.push(data);
        unfinished += 1;
        mostUnfinished = Math.max(mostUnfinished, unfinished);
        await new Promise((resolve) => setImmediate(resolve));
        unfinished -= 1;
      },
    });
    const numbers = Array.from({ length: 20_000 }, (_, number) => number);
    for (const number of numbers) publisher.publish("work", number);
    await eventually(() => messages.queued >= 20, "messages wait");
    await eventually(() => seen.length === numbers.length, "all came");
    expect(seen).toEqual(numbers);
    expect([mostUnfinished, messages.lost]).toEqual([10, 0]);
  });

  test("can ask the broker something before it takes the next message", async () => {
    await using publisher = await connect({ path: broker.path });
    const messages = await bus.subscribe("asks", { overflow: "block", queueMessagesMax: 10 });
    for (let number = 0; number < 50_000; number += 1) publisher.publish("asks", number);
    await eventually(() => messages.queued >= 10, "messages came");
    expect(await bus.flush({ timeoutMs: 5_000 })).toMatchObject({ published: 0 });
    expect((await messages.next()).value.data).toBe(0);
  });
});

describe("a queue group", () => {
  test("gives each message to one subscription of the program, and a plain one its own", async () => {
    const seen: string[] = [];
    const note =
      (name: string) =>
      ({ data }: Message) =>
        void seen.push(`${name}${data}`);
    await bus.subscribe("job", { group: "g", onMessage: note("one") });
    await bus.subscribe("*", { group: "g", onMessage: note("two") });
    await bus.subscribe("job", { onMessage: note("all") });
    for (let number = 0; number < 4; number += 1) bus.publish("job", number);
    await bus.flush();
    await eventually(() => seen.length === 8, "all came");
    const inGroup = seen.filter((each) => !each.startsWith("all")).map((each) => each.at(-1));
    expect(inGroup.toSorted()).toEqual(["0", "1", "2", "3"]);
    expect(new Set(seen.map((each) => each.slice(0, -1)))).toEqual(new Set(["one", "two", "all"]));
  });
});

describe("a queue group whose members have asynchronous callbacks", () => {
  test("gives nothing more to the one that does not finish, and the rest to the other", async () => {
    await using slow = await connect({ path: broker.path });
    await using quick = await connect({ path: broker.path });
    const options = { group: "g", queueMessagesMax: 1 } as const;
    const done = Promise.withResolvers<void>();
    let started = 0;
    const finished: Message[] = [];
    const onMessage = () => {
      started += 1;
      return done.promise;
    };
    const stuck = await slow.subscribe("piece", { ...options, onMessage });
    await quick.subscribe("piece", {
      ...options,
      onMessage: async (one) => void finished.push(one),
    });
    const count = 2_000;
    for (let number = 0; number < count; number += 1) {
      bus.publish("piece", number);
      if (number % 10 === 0) await bus.flush();
    }
    await eventually(
      () => finished.length + started + stuck.queued >= count - 100,
      "the quick one worked",
    );
    expect(started).toBe(1);
    expect(finished.length).toBeGreaterThan(count - 200);
    done.resolve();
    await eventually(() => started + finished.length === count, "the slow one went on");
  });
});

describe("a subscription with latest-per-topic", () => {
  test("gives where a thing is now, and not where it was", async () => {
    await using publisher = await connect({ path: broker.path });
    const position = await bus.subscribe("mouse.*", { overflow: "latest-per-topic" });
    for (let number = 1; number <= 1_000; number += 1) {
      publisher.publish("mouse.x", number);
      publisher.publish("mouse.y", -number);
    }
    await publisher.flush();
    await bus.flush();
    expect([position.queued, position.lost]).toEqual([2, 1_998]);
    const [x, y] = [(await position.next()).value, (await position.next()).value];
    expect([x.topic, x.data, y.topic, y.data]).toEqual(["mouse.x", 1_000, "mouse.y", -1_000]);
  });
});

describe("onGap", () => {
  test("comes before the next message, with the topic; status() tells each topic", async () => {
    const story: unknown[] = [];
    const status = bus.status();
    const messages = await bus.subscribe("gap.*", {
      queueMessagesMax: 2,
      onGap: ({ topic, count }) => void story.push([topic, count]),
    });
    for (const topic of ["gap.a", "gap.a", "gap.b", "gap.c", "gap.b"]) bus.publish(topic, topic);
    await bus.flush();
    await eventually(() => messages.lost === 3, "the rest was dropped");
    expect(story).toEqual([]);
    for (let count = 0; count < 2; count += 1) story.push((await messages.next()).value.data);
    const next = messages.next();
    bus.publish("gap.d", "gap.d");
    story.push((await next).value.data);
    expect(story).toEqual(["gap.a", "gap.a", ["gap.b", 2], ["gap.c", 1], "gap.d"]);
    const gap = { type: "gap", reason: "subscription-full" };
    expect((await status.next()).value).toEqual({ ...gap, topic: "gap.b", count: 2 });
    expect((await status.next()).value).toEqual({ ...gap, topic: "gap.c", count: 1 });
  });
});

describe("a subscription with gapErrors", () => {
  test("rejects in the place of the gap and goes on", async () => {
    const gaps: (number | undefined)[] = [];
    const messages = await bus.subscribe("gap", {
      queueMessagesMax: 5,
      overflow: "drop-oldest",
      gapErrors: true,
      onGap: ({ count }) => void gaps.push(count),
    });
    for (let number = 0; number < 20; number += 1) bus.publish("gap", number);
    await bus.flush();
    await eventually(() => messages.lost === 15, "the oldest were dropped");
    const gap = await messages.next().then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(gap).toBeInstanceOf(GapError);
    expect(gap).toMatchObject({ topic: "gap", count: 15, reason: "oldest-dropped" });
    const rest: unknown[] = [];
    while (rest.length < 5) rest.push((await messages.next()).value.data);
    expect(rest).toEqual([15, 16, 17, 18, 19]);
    await eventually(() => gaps.length === 1 && gaps[0] === 15, "the gap was told once");
  });
});

describe("Bus.status()", () => {
  test("tells that a subscriber with block holds the publisher back, and that it goes on", async () => {
    using reader = await RawClient.open(broker.path);
    await reader.request(OPCODE.SUBSCRIBE, { pattern: "held", overflow: "block" });
    const events: StatusEvent[] = [];
    const status = bus.status();
    const watched = (async () => {
      for await (const event of status) events.push(event);
    })();
    const body = new Uint8Array(32 * 1024);
    const count = 400;
    for (let sent = 0; sent < count; sent += 1) bus.publish("held", body);
    const flushed = bus.flush({ timeoutMs: 30_000 });
    await eventually(() => events.length > 0, "it is held back");
    const about = { topic: "held", heldMs: expect.any(Number) };
    expect(events).toEqual([{ type: "held", ...about }]);
    await eventually(() => {
      reader.received();
      return events.some(({ type }) => type === "released");
    }, "it goes on");
    await eventually(() => {
      reader.received();
      return Bun.peek.status(flushed) === "fulfilled";
    }, "all was routed");
    expect(await flushed).toMatchObject({ published: count, dropped: 0, lostLater: 0 });
    expect(events).toEqual([
      { type: "held", ...about },
      { type: "released", ...about },
    ]);
    await bus.close();
    await watched;
  });
});
