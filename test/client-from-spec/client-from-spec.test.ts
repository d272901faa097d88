/**
 * docs/protocol.md says all that a client needs: seqbus_client.py, written from that page alone,
 * talks to a real broker and to the TypeScript client.
 */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { type Bus, connect, type Message } from "../../src/client/index.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { eventually } from "../support/eventually.ts";
import { type SpawnedBroker, type SpawnOptions, spawnBroker } from "../support/spawned-broker.ts";
import { readText, TestFiles } from "../support/test-files.ts";
import { CLIENT_PATH, runClient, runScript, testWithPython } from "./python-process.ts";

const CLIENT_LINES_MAX = 275;
const STANDARD_MODULES = [
  "argparse",
  "array",
  "collections",
  "fcntl",
  "json",
  "os",
  "socket",
  "struct",
];

const ENCODING_TEXT = 1;
const ENCODING_MSGPACK = 3;

/** A broker and a bus at it. */
async function openBus(
  options: SpawnOptions = {},
): Promise<AsyncDisposable & { readonly broker: SpawnedBroker; readonly bus: Bus }> {
  const broker = await spawnBroker(options);
  try {
    const bus = await connect({ path: broker.path });
    return {
      broker,
      bus,
      async [Symbol.asyncDispose](): Promise<void> {
        await bus.close();
        await broker[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await broker[Symbol.asyncDispose]();
    throw error;
  }
}

async function nextOf(messages: AsyncIterator<Message>): Promise<Message> {
  const { value, done } = await messages.next();
  if (done) throw new Error("The subscription ended before its message");
  return value;
}

describe("seqbus_client.py", () => {
  const text = readFileSync(CLIENT_PATH, "utf8");

  test("is short", () => {
    expect(text.split("\n").length - 1).toBeLessThanOrEqual(CLIENT_LINES_MAX);
  });

  test("imports the standard library only", () => {
    const imports = text.split("\n").filter((line) => /^\s*(import|from)\b/.test(line));
    const modules = imports.map((line) => line.replace(/^import /, "").split(", "));
    expect(modules.flat().sort()).toEqual(STANDARD_MODULES);
    expect(text).not.toMatch(/__import__|importlib|\b(exec|eval)\(/);
  });
});

describe("messages", () => {
  testWithPython("from Python reach TypeScript, with the uid and pid of Python", async () => {
    await using at = await openBus();
    const messages = await at.bus.subscribe("sensors.*.temperature");
    await using python = runClient(at.broker, "publish", "sensors.kitchen.temperature", "21°", "");

    const first = await nextOf(messages);
    const { topic, data, encoding, fdsWithheld, sender } = first;
    expect({ topic, data, encoding, fdsWithheld }).toEqual({
      topic: "sensors.kitchen.temperature",
      data: "21°",
      encoding: ENCODING_TEXT,
      fdsWithheld: false,
    });
    expect(sender).toMatchObject({ uid: process.getuid?.(), pid: python.pid });
    expect((await nextOf(messages)).data).toBe("");

    const figures = await python.next();
    expect(figures).toMatchObject({ connection: sender.connection, pid: python.pid });
    expect(figures).toMatchObject({
      published: 2,
      matched: 2,
      delivered: 2,
      dropped: 0,
      denied: 0,
    });
    await python.finish();
  });

  testWithPython("from TypeScript reach Python, in order over all topics", async () => {
    await using at = await openBus();
    await using python = runClient(at.broker, "subscribe", "a.*.>", "--count", "3");
    await python.next();
    at.bus.publish("a.b", "one token too few");
    at.bus.publish("b.b.c", "another first token");
    at.bus.publish("a.b.c", "first");
    at.bus.publish("a.b.c.d", new TextEncoder().encode("second"));
    at.bus.publish("a.x.y", "third", { encoding: "json" });
    await at.bus.flush();

    const sender = expect.objectContaining({
      connection: at.bus.self.connection,
      uid: process.getuid?.(),
      gid: process.getgid?.(),
      pid: process.pid,
    });
    const shared = { sender, fds: [], withheld: false, retained: false };
    expect(await python.next()).toEqual({ ...shared, topic: "a.b.c", encoding: 1, body: "first" });
    expect(await python.next()).toEqual({
      ...shared,
      topic: "a.b.c.d",
      encoding: 0,
      body: "second",
    });
    expect(await python.next()).toEqual({
      ...shared,
      topic: "a.x.y",
      encoding: 2,
      body: '"third"',
    });
    await python.finish();
  });

  testWithPython("that were kept reach Python later, marked, also from who has gone", async () => {
    await using at = await openBus();
    const writer = await connect({ path: at.broker.path });
    const { connection } = writer.self;
    writer.publish("state.a", "kept", { retain: true });
    await writer.flush();
    await writer.close();
    await eventually(() => at.broker.find("disconnected"), "the writer is gone");
    await using python = runScript(
      at.broker,
      `
bus = Connection()
bus.request(SUBSCRIBE, {"pattern": "state.*"})
first = bus.receive()
bus.request(SYNC)
show(body=first.body.decode(), sender=first.sender["connection"], known=len(bus.senders), retained=first.retained)
second = bus.receive()
show(body=second.body.decode(), retained=second.retained)
topic = bus.request(OPEN_TOPIC, {"topic": "state.b"})["topic"]
bus.send(RETAIN, topic, struct.pack("<II", 0, 0) + b"of Python", TEXT)
show(cleared=bus.request(CLEAR_RETAINED, {"topic": "state.a"})["cleared"])
`,
    );
    const kept = { body: "kept", sender: connection, known: 0, retained: true };
    expect(await python.next()).toEqual(kept);
    at.bus.publish("state.a", "live");
    expect(await python.next()).toEqual({ body: "live", retained: false });
    expect(await python.next()).toEqual({ cleared: true });
    await python.finish();

    const message = await nextOf(await at.bus.subscribe("state.*"));
    expect(message).toMatchObject({ topic: "state.b", data: "of Python", retained: true });
  });

  testWithPython("that several subscriptions match come once", async () => {
    await using at = await openBus();
    await using python = runScript(
      at.broker,
      `
bus = Connection()
show(opened=failure(lambda: bus.request(OPEN_TOPIC, {"topic": "$bus.mine"})))
numbers = [bus.request(SUBSCRIBE, {"pattern": pattern})["subscription"] for pattern in (">", "a.*", "a.b")]
show(numbers=numbers)
first = bus.receive()
for number in numbers[1:]: bus.request(UNSUBSCRIBE, {"subscription": number})
show(twice=failure(lambda: bus.request(UNSUBSCRIBE, {"subscription": numbers[1]})))
second = bus.receive()
show(bodies=[event.body.decode() for event in (first, second)], left=len(bus.events))
`,
    );
    const { opened } = await python.next();
    expect(opened).toEqual([
      "BusError",
      expect.objectContaining({ status: STATUS.REJECTED_TOPIC_NAME }),
    ]);
    expect(new Set((await python.next())["numbers"] as number[]).size).toBe(3);
    at.bus.publish("a.b", "matched three times");
    const { twice } = await python.next();
    expect(twice).toEqual([
      "BusError",
      expect.objectContaining({ status: STATUS.REJECTED_SUBSCRIPTION }),
    ]);
    at.bus.publish("a.b", "matched once");
    expect(await python.next()).toEqual({
      bodies: ["matched three times", "matched once"],
      left: 0,
    });
    await python.finish();
  });

  testWithPython("with the largest body pass whole", async () => {
    await using at = await openBus();
    const messages = await at.bus.subscribe("large");
    await using python = runScript(
      at.broker,
      `
bus = Connection()
topic = bus.request(OPEN_TOPIC, {"topic": "large"})
bus.send(MESSAGE, topic["topic"], bytes(range(240)) * 273, BYTES)
show(**bus.request(SYNC))
bus.send(CLOSE_TOPIC, topic["topic"])
bus.send(MESSAGE, topic["topic"], b"closed")
show(closed=failure(lambda: bus.receive()))
`,
    );
    const { data } = await nextOf(messages);
    expect(data as Uint8Array).toEqual(
      Uint8Array.from({ length: 65_520 }, (_, index) => index % 240),
    );
    expect(await python.next()).toMatchObject({ published: 1, delivered: 1 });
    const { closed } = await python.next();
    expect(closed).toEqual([
      "BusError",
      expect.objectContaining({ status: STATUS.PROTOCOL_TOPIC_ID, offset: expect.any(Number) }),
    ]);
    await python.finish();
  });

  testWithPython("with a body that no packet can carry pass whole, there and back", async () => {
    await using at = await openBus();
    const echoes = await at.bus.subscribe("back");
    await using python = runClient(at.broker, "echo", "there", "back");
    await python.next();
    const body = Uint8Array.from({ length: 1_000_000 }, (_, index) => index % 251);
    at.bus.publish("there", body);
    const echo = await nextOf(echoes);
    expect(echo.byteLength).toBe(body.byteLength);
    expect(echo.data as Uint8Array).toEqual(body);
    expect(echo.sender.pid).toBe(python.pid);
    await python.next();
    await python.finish();
  });

  testWithPython("that Python missed are counted in a GAP", async () => {
    const total = 2_000;
    const body = new Uint8Array(32_768);
    await using at = await openBus();
    await using python = runScript(
      at.broker,
      `
bus = Connection()
bus.request(SUBSCRIBE, {"pattern": "flood"})
show(ready=True)
input()
taken, missing, reasons = 0, 0, []
while taken + missing < ${total}:
    event = bus.receive()
    if isinstance(event, Message): taken += 1
    else:
        missing += event.details["count"]
        reasons += [event.opcode, event.details["reason"], event.details["topic"]]
show(taken=taken, missing=missing, reasons=reasons[:3])
`,
    );
    await python.next();
    for (let count = 0; count < total; count += 1) {
      if (!at.bus.publish("flood", body)) await at.bus.flush();
    }
    await at.bus.flush();
    python.continue();

    const { taken, missing, reasons } = await python.next();
    expect(Number(taken)).toBeGreaterThan(0);
    expect(Number(missing)).toBeGreaterThan(0);
    expect(Number(taken) + Number(missing)).toBe(total);
    expect(reasons).toEqual([OPCODE.GAP, 1, "flood"]);
    await python.finish();
  });
});

describe("file descriptors", () => {
  testWithPython("go from Python to TypeScript", async () => {
    await using at = await openBus();
    const messages = await at.bus.subscribe("files");
    await using python = runClient(at.broker, "publish", "files", "me", "--file", CLIENT_PATH);
    const { data, fds } = await nextOf(messages);
    expect(data).toBe("me");
    expect(fds.length).toBe(1);
    using file = fds.take(0);
    expect(readText(file.fd)).toBe(readFileSync(CLIENT_PATH, "utf8"));
    await python.finish();
  });

  for (const lane of [false, true]) {
    const way = lane ? "on the fd lane" : "in band";
    testWithPython(`go from TypeScript to Python ${way} and back`, async () => {
      await using at = await openBus();
      const replies = await at.bus.subscribe("reply");
      const laneOption = lane ? ["--lane"] : [];
      const echo = ["echo", "files.*", "reply", "--count", "4", ...laneOption];
      await using python = runClient(at.broker, ...echo);
      expect(await python.next()).toMatchObject({ features: lane ? 1 : 0 });
      using one = new TestFiles(["alone"]);
      using two = new TestFiles(["left", "right"]);
      // All in one packet where fds do not forbid it.
      at.bus.publish("files.a", "1", { fds: one.fds });
      at.bus.publish("files.b", "2");
      at.bus.publish("files.b", "3", { fds: two.fds });
      at.bus.publish("files.a", { data: 4 });

      expect(await python.next()).toMatchObject({ body: "1", fds: ["alone"] });
      expect(await python.next()).toMatchObject({ body: "2", fds: [] });
      expect(await python.next()).toMatchObject({ body: "3", fds: ["left", "right"] });
      expect(await python.next()).toMatchObject({ encoding: ENCODING_MSGPACK, fds: [] });
      const texts: string[][] = [];
      for (let count = 0; count < 4; count += 1) {
        const { fds } = await nextOf(replies);
        const files = Array.from({ length: fds.length }, (_, index) => fds.take(index));
        texts.push(files.map((file) => readText(file.fd)));
        for (const file of files) file.close();
      }
      expect(texts).toEqual([["alone"], [], ["left", "right"], []]);
      await python.finish();
    });
  }

  testWithPython(
    "that the policy forbids are refused at one end, withheld at the other",
    async () => {
      const policy = `
[[rule]]
id = "all"
allow = ["publish", "subscribe"]
topics = [">"]
any = true
[[rule]]
id = "files-out"
allow = ["send-fds"]
topics = ["out"]
any = true
[[rule]]
id = "secret"
deny = ["publish", "subscribe"]
topics = ["secret"]
any = true
`;
      await using at = await openBus({ policy });
      await using python = runScript(
        at.broker,
        `
bus = Connection()
show(**bus.request(SUBSCRIBE, {"pattern": "out"}))
topics = [bus.request(OPEN_TOPIC, {"topic": name}) for name in ("out", "in")]
show(may=[topic["sendFds"] for topic in topics])
show(denied=[failure(lambda: bus.request(OPEN_TOPIC, {"topic": "secret"})),
             failure(lambda: bus.request(SUBSCRIBE, {"pattern": "secret"}))])
for topic in topics: bus.send(MESSAGE, topic["topic"], b"with a pipe", TEXT, os.pipe())
show(**bus.request(SYNC))
message, notice = bus.receive(), bus.receive()
show(withheld=message.withheld, fds=message.fds, body=message.body.decode())
show(opcode=notice.opcode, **notice.details)
`,
      );
      await python.next();
      expect(await python.next()).toEqual({ may: [true, false] });
      const denial = { status: STATUS.REJECTED_BY_POLICY, topic: "secret", rule: "secret" };
      expect(await python.next()).toEqual({
        denied: [
          ["BusError", expect.objectContaining(denial)],
          ["BusError", expect.objectContaining(denial)],
        ],
      });
      expect(await python.next()).toMatchObject({ published: 1, delivered: 1, denied: 1 });
      expect(await python.next()).toEqual({ withheld: true, fds: [], body: "with a pipe" });
      expect(await python.next()).toMatchObject({
        opcode: OPCODE.ERROR,
        status: STATUS.REJECTED_BY_POLICY,
        topic: "in",
      });
      await python.finish();
    },
  );
});

describe("the life of a connection", () => {
  testWithPython("ends with ERROR at a topic id that was never opened", async () => {
    await using at = await openBus();
    await using python = runScript(
      at.broker,
      `
bus = Connection()
bus.send(MESSAGE, 4711, b"nobody opened this")
show(error=failure(lambda: bus.request(SYNC)), after=failure(bus.receive))
`,
    );
    const { error, after } = await python.next();
    expect(error).toEqual([
      "BusError",
      expect.objectContaining({ status: STATUS.PROTOCOL_TOPIC_ID, offset: expect.any(Number) }),
    ]);
    expect(after).toEqual(["EOFError", expect.any(String)]);
    await python.finish();
    expect((await at.bus.flush()).published).toBe(0);
  });

  testWithPython("does not begin with another protocol version", async () => {
    await using at = await openBus();
    await using python = runScript(
      at.broker,
      "show(error=failure(lambda: Connection(protocol=2)))",
    );
    const { error } = await python.next();
    expect(error).toEqual([
      "BusError",
      expect.objectContaining({ status: STATUS.PROTOCOL_VERSION, protocol: 1 }),
    ]);
    await python.finish();
  });

  testWithPython("does not begin with a broker of a stranger", async () => {
    await using at = await openBus();
    await using python = runScript(
      at.broker,
      `
class Stranger(socket.socket):
    def getsockopt(self, *_): return struct.pack("=iII", 1, 0xfffffff0, 0)
socket.socket = Stranger
show(error=failure(Connection))
`,
    );
    expect(await python.next()).toEqual({ error: ["ValueError", "broker has uid 4294967280"] });
    await python.finish();
  });

  testWithPython("of another client ends with SENDER_GONE, after its messages", async () => {
    await using at = await openBus();
    await using python = runScript(
      at.broker,
      `
bus = Connection()
bus.request(SUBSCRIBE, {"pattern": ">"})
show(ready=True)
bodies = [bus.receive().body.decode() for _ in range(2)]
show(bodies=bodies, senders=len(bus.senders))
`,
    );
    await python.next();
    const other = await connect({ path: at.broker.path });
    other.publish("a", "first of one");
    await other.flush();
    await other.close();
    const disconnected = () =>
      at.broker.findAll("disconnected").find((event) => event.connection === other.self.connection);
    await eventually(disconnected, "the broker saw that a client is gone");
    at.bus.publish("a", "first of another");
    expect(await python.next()).toEqual({
      bodies: ["first of one", "first of another"],
      senders: 1,
    });
    await python.finish();
  });

  testWithPython("ends with GOODBYE when the broker is stopped", async () => {
    await using broker = await spawnBroker();
    await using python = runScript(
      broker,
      `
bus = Connection()
bus.request(SUBSCRIBE, {"pattern": "last.words"})
topic = bus.request(OPEN_TOPIC, {"topic": "last.words"})["topic"]
bus.send(MESSAGE, topic, b"routed", TEXT)
show(**bus.request(SYNC))
first, second = bus.receive(), bus.receive()
show(body=first.body.decode(), opcode=second.opcode, **second.details)
show(after=failure(bus.receive), send=failure(lambda: bus.request(SYNC)))
`,
    );
    await python.next();
    expect(await broker.stop()).toBe(0);
    expect(await python.next()).toMatchObject({
      body: "routed",
      opcode: OPCODE.GOODBYE,
      status: STATUS.CLOSED_BY_BROKER,
    });
    const closed = ["EOFError", expect.any(String)];
    expect(await python.next()).toEqual({ after: closed, send: closed });
    await python.finish();
  });
});
