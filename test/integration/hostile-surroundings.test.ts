/**
 * Too few fds, too many who die at once, reloads that cannot start: what a broker and a client do
 * when the machine or a crowd is against them. Real processes.
 */

import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Broker } from "../../src/broker/broker.ts";
import type { BrokerEvent } from "../../src/broker/events.ts";
import { FDS_RESERVED, SPARE_FDS } from "../../src/broker/fds/limits.ts";
import {
  SUBSCRIPTIONS_PER_CONNECTION_MAX,
  TOPICS_PER_CONNECTION_MAX,
} from "../../src/broker/routing/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import type { PacketWriter } from "../../src/protocol/packet.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { HAS_PRLIMIT, leaveFds, NO_PRLIMIT } from "../support/open-files.ts";
import { mapOf, packetOf, RawClient, type RawFrame, textOf } from "../support/raw-client.ts";
import { spawnBroker, startBroker } from "../support/spawned-broker.ts";
import type { ConnectAttempt } from "./connect-attempts-fixture.ts";

/** Appends one request. @returns false where the packet is full */
type AskOne = (writer: PacketWriter, id: number) => boolean;

class Directory implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "seqbus-test-"));

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

describe("a broker that may open no more files", () => {
  testUnless(
    !HAS_PRLIMIT,
    NO_PRLIMIT,
    "lets administrators in while it can, says once why it takes nobody then, and recovers",
    async () => {
      // The clock runs fast, so that accepting is tried again many times while the test looks.
      await using broker = await spawnBroker({ clockSpeed: 50 });
      using bystander = await RawClient.open(broker.path);
      using clients = new DisposableStack();
      const limit = leaveFds(broker, 0);
      const waiting: RawClient[] = [];
      while (waiting.length < 2 * SPARE_FDS) {
        const client = clients.use(RawClient.connect(broker.path));
        client.sendControl(OPCODE.HELLO, 0, { protocol: 1, features: 0 });
        waiting.push(client);
      }
      await eventually(() => broker.find("accept-paused"), "the broker told that it takes nobody");
      const [first] = waiting;
      expect((await first?.next())?.opcode).toBe(OPCODE.WELCOME);
      for (let count = 0; count < 200; count += 1) await bystander.sync();
      expect(await broker.reportedSoFar("accept-paused")).toHaveLength(1);
      expect(broker.findAll("connected").length).toBeLessThan(SPARE_FDS + 1);
      limit[Symbol.dispose]();
      for (const client of waiting.slice(1)) {
        expect((await client.next()).opcode).toBe(OPCODE.WELCOME);
      }
    },
  );
});

describe("a packet that costs more than a turn has time for", () => {
  const COUNT = 300;

  /** Each wildcard makes the broker compute the route of the message behind it anew. */
  function costlyPacket(topic: number): Uint8Array {
    return packetOf((writer) => {
      for (let id = 1; id <= COUNT; id += 1) {
        writer.appendControl(OPCODE.SUBSCRIBE, 0, id, { pattern: "*" });
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, new TextEncoder().encode(String(id)));
      }
      writer.append(OPCODE.CLOSE_TOPIC, 0, 0, topic, 0, undefined);
      writer.append(OPCODE.CLOSE_TOPIC, 0, 0, topic, 0, undefined);
      writer.appendControl(OPCODE.SYNC, 0, COUNT + 1, undefined);
    });
  }

  test("is handled whole and in order, and does not hold up others", async () => {
    // With this clock the time of a turn is up after every step or two.
    await using broker = await spawnBroker({ clockSpeed: 50 });
    using greedy = await RawClient.open(broker.path);
    using bystander = await RawClient.open(broker.path);
    await bystander.subscribe("a");
    const topic = await greedy.openTopic("a");
    broker.kill("SIGSTOP");
    greedy.send(costlyPacket(topic));
    bystander.sendControl(OPCODE.SYNC, 999);
    broker.kill("SIGCONT");
    const before: string[] = [];
    for (let frame = await bystander.next(); frame.id !== 999; frame = await bystander.next()) {
      if (frame.opcode === OPCODE.MESSAGE) before.push(textOf(frame));
    }
    const all = [...before, ...(await bystander.nextTexts(COUNT - before.length))];
    expect(before.length).toBeLessThan(COUNT / 2);
    expect(all).toEqual(Array.from({ length: COUNT }, (_, index) => String(index + 1)));
    const answers: number[] = [];
    while (answers.length <= COUNT) answers.push((await greedy.nextOf(OPCODE.ACK)).id);
    expect(answers).toEqual(Array.from({ length: COUNT + 1 }, (_, index) => index + 1));
  });

  test("is dropped with its client", async () => {
    await using broker = await spawnBroker({ clockSpeed: 50 });
    const fds = await broker.fdsAtRest();
    const greedy = await RawClient.open(broker.path);
    greedy.send(costlyPacket(await greedy.openTopic("a")));
    greedy[Symbol.dispose]();
    await broker.expectFds(fds);
    using next = await RawClient.open(broker.path);
    expect(await next.sync()).toMatchObject({ published: 0 });
  });
});

describe("publishers that all die at once", () => {
  test("are told to everybody who heard of them, over several turns", async () => {
    // With this clock the time for closing is up after one or two connections.
    await using broker = await spawnBroker({ clockSpeed: 50 });
    const fds = await broker.fdsAtRest();
    const subscriber = await RawClient.open(broker.path);
    await subscriber.subscribe("a");
    const publishers: RawClient[] = [];
    for (let count = 0; count < 20; count += 1) {
      const publisher = await RawClient.open(broker.path);
      publisher.sendMessage(await publisher.openTopic("a"), "here");
      await publisher.sync();
      publishers.push(publisher);
    }
    await subscriber.nextTexts(publishers.length);
    broker.kill("SIGSTOP");
    for (const publisher of publishers) publisher[Symbol.dispose]();
    broker.kill("SIGCONT");
    const gone = new Set<number>();
    while (gone.size < publishers.length) {
      gone.add((await subscriber.nextOf(OPCODE.SENDER_GONE)).id);
    }
    expect([...gone].sort((a, b) => a - b)).toEqual(publishers.map((each) => each.connection));
    subscriber[Symbol.dispose]();
    await broker.expectFds(fds);
  });
});

describe("a broker that may hold too few fds to serve anybody", () => {
  test("does not start, and says how many it needs", async () => {
    await using broker = startBroker({ openFilesMax: FDS_RESERVED + 1 });
    expect(await broker.exited()).toBe(1);
    const failure = broker.find("failed");
    expect(failure?.code).toBe("CONFIG_PLATFORM");
    expect(failure?.message).toContain(`at least ${FDS_RESERVED + 2}`);
    expect(existsSync(`${broker.path}.lock`)).toBe(false);
  });
});

describe("a socket path that is too long", () => {
  test("is refused before a lock file is made", async () => {
    using directory = new Directory();
    const path = join(directory.path, "a".repeat(108));
    await using broker = startBroker({ path });
    expect(await broker.exited()).toBe(1);
    expect(broker.find("failed")?.code).toBe("ARGUMENT_SOCKET_PATH");
    expect(existsSync(`${path}.lock`)).toBe(false);
  });
});

describe("Broker.reloadPolicy()", () => {
  test("keeps the old policy where the system lets it not read the files", async () => {
    using directory = new Directory();
    const events: BrokerEvent[] = [];
    const cause = Object.assign(new Error("EMFILE: too many open files"), {
      code: "EMFILE",
      syscall: "socketpair",
    });
    const broker = new Broker({
      path: join(directory.path, "bus.sock"),
      readPolicy: () => Promise.reject(cause),
      onEvent: (event) => events.push(event),
    });
    const refusal = await broker.reloadPolicy().catch((error: unknown) => error);
    expect(refusal).toMatchObject({ name: "ConfigError", code: "CONFIG_POLICY", cause });
    expect(events.at(-1)).toMatchObject({ type: "policy-refused" });
    broker.stop();
    await broker.run();
  });
});

describe("connect() in a process that may hold few more fds", () => {
  test("says so and leaks none, however far it came", async () => {
    await using broker = await spawnBroker();
    const script = `${import.meta.dir}/connect-attempts-fixture.ts`;
    const command = [process.execPath, script, broker.path];
    const child = Bun.spawn(["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", ...command], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const attempts: ConnectAttempt[] = JSON.parse(await child.stdout.text());
    expect(attempts.map(({ leakedFds }) => leakedFds)).toEqual(attempts.map(() => 0));
    const outcomes = new Set(attempts.map(({ outcome }) => outcome));
    expect([...outcomes]).toEqual(["EMFILE", "LIMIT_QUEUED_FDS", "connected"]);
  });
});

describe("a connection that asks for more than it may have", () => {
  /** Asks for all of them, a packet at a time. @returns the answers that are no ACK */
  async function askFor(client: RawClient, count: number, ask: AskOne): Promise<RawFrame[]> {
    const refusals: RawFrame[] = [];
    let answers = 0;
    for (let asked = 0; answers < count; ) {
      const packet = packetOf((writer) => {
        while (asked < count && ask(writer, asked + 1)) asked += 1;
      });
      if (packet.byteLength > 0) await client.sendEventually(packet);
      while (answers < asked) {
        const answer = await client.next();
        if (answer.opcode === OPCODE.ERROR) refusals.push(answer);
        answers += 1;
      }
    }
    return refusals;
  }

  test("is refused a topic beyond TOPICS_PER_CONNECTION_MAX, and told which", async () => {
    await using broker = await spawnBroker();
    using client = await RawClient.open(broker.path);
    const refusals = await askFor(client, TOPICS_PER_CONNECTION_MAX + 1, (writer, id) =>
      writer.appendControl(OPCODE.OPEN_TOPIC, 0, id, { topic: `t${id}` }),
    );
    const last = TOPICS_PER_CONNECTION_MAX + 1;
    expect(refusals).toMatchObject([{ id: last, flags: 0 }]);
    expect(refusals.map(mapOf)).toMatchObject([{ status: STATUS.LIMIT_TOPICS, topic: `t${last}` }]);
  });

  test("is refused a subscription beyond SUBSCRIPTIONS_PER_CONNECTION_MAX", async () => {
    await using broker = await spawnBroker();
    using client = await RawClient.open(broker.path);
    const refusals = await askFor(client, SUBSCRIPTIONS_PER_CONNECTION_MAX + 1, (writer, id) =>
      writer.appendControl(OPCODE.SUBSCRIBE, 0, id, { pattern: "a" }),
    );
    expect(refusals).toMatchObject([{ id: SUBSCRIPTIONS_PER_CONNECTION_MAX + 1, flags: 0 }]);
    expect(refusals.map(mapOf)).toMatchObject([{ status: STATUS.LIMIT_SUBSCRIPTIONS }]);
  });
});
