/** The client library against a real broker: publishing, subscribing, and the end of both. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chownSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bus } from "../../src/client/bus.ts";
import { connect } from "../../src/client/connect.ts";
import type { Message } from "../../src/client/message.ts";
import type { StatusEvent } from "../../src/client/status.ts";
import type { Subscription } from "../../src/client/subscription.ts";
import {
  ArgumentError,
  ClosedError,
  LimitError,
  RejectedError,
  SyscallError,
  TimeoutError,
} from "../../src/errors.ts";
import { OwnedFd } from "../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import {
  acceptConnection,
  bindPath,
  listen,
  openSeqpacket,
  sendPacket,
} from "../../src/ffi/seqpacket.ts";
import { LARGE_BODY_BYTES_MAX, MESSAGE_BODY_BYTES_MAX } from "../../src/protocol/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { OwnFds } from "../support/open-files.ts";
import { packetOf, RawClient } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { TestFiles } from "../support/test-files.ts";

let broker: SpawnedBroker;
let bus: Bus;

beforeEach(async () => {
  broker = await spawnBroker();
  bus = await connect({ path: broker.path, reconnect: false });
});

afterEach(async () => {
  await bus.close();
  await broker[Symbol.asyncDispose]();
});

/** What a promise rejects with; it must. */
async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("Nothing was rejected");
}

/** What a call throws; it must. */
function thrownBy(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error("Nothing was thrown");
}

/** The data of the next messages. */
async function take(subscription: Subscription, count: number): Promise<unknown[]> {
  const data: unknown[] = [];
  while (data.length < count) data.push((await subscription.next()).value.data);
  return data;
}

describe("Bus.publish()", () => {
  test("keeps the order over topics that are still being opened", async () => {
    const all = await bus.subscribe(">");
    for (let index = 0; index < 100; index += 1) bus.publish(`t.${index % 7}`, index);
    expect(await take(all, 100)).toEqual(Array.from({ length: 100 }, (_, index) => index));
  });

  test.each([
    ["text", "grüezi", {}],
    ["a map", { celsius: 21.5, tags: ["a", null], big: 2n ** 60n }, {}],
    ["bytes", Uint8Array.of(0, 255), {}],
    ["nothing", new Uint8Array(0), {}],
    ["JSON", { deep: [{ er: true }] }, { encoding: "json" }],
    ["the largest body", new Uint8Array(MESSAGE_BODY_BYTES_MAX).fill(7), {}],
  ] as const)("brings %s to a subscriber as it was", async (_name, data, options) => {
    const subscription = await bus.subscribe("a");
    bus.publish("a", data, options);
    expect(await take(subscription, 1)).toEqual([data]);
  });

  test("refuses what cannot be sent, and says why", async () => {
    expect(thrownBy(() => bus.publish("a..b", 1))).toMatchObject({ code: "ARGUMENT_TOPIC" });
    expect(thrownBy(() => bus.publish("a.*", 1))).toBeInstanceOf(ArgumentError);
    const large = new Uint8Array(LARGE_BODY_BYTES_MAX + 1);
    const tooLarge = thrownBy(() => bus.publish("a", large));
    expect(tooLarge).toBeInstanceOf(LimitError);
    expect(tooLarge).toMatchObject({
      code: "LIMIT_MESSAGE_BYTES",
      limit: LARGE_BODY_BYTES_MAX,
      actual: LARGE_BODY_BYTES_MAX + 1,
    });
    const manyFds = Array.from({ length: 254 }, () => 0);
    expect(thrownBy(() => bus.publish("a", 1, { fds: manyFds }))).toMatchObject({
      code: "LIMIT_MESSAGE_FDS",
    });
    for (const fd of [-1, 1.5, Number.NaN, undefined, "3"]) {
      const fds = [fd as number];
      expect(thrownBy(() => bus.publish("a", 1, { fds }))).toMatchObject({ code: "ARGUMENT_FD" });
    }
    expect(thrownBy(() => bus.publish("a", Symbol("no data")))).toMatchObject({
      code: "ARGUMENT_DATA",
    });
    expect(await bus.flush()).toMatchObject({ published: 0 });
  });

  test("refuses a topic of the bus by way of flush() and status()", async () => {
    const status = bus.status();
    bus.publish("$bus.lie", 1);
    expect(await rejectionOf(bus.flush())).toMatchObject({ code: "REJECTED_TOPIC_NAME" });
    expect((await status.next()).value).toMatchObject({ type: "denied" });
    expect(thrownBy(() => bus.publish("$bus.lie", 2))).toBeInstanceOf(RejectedError);
    expect(await bus.flush()).toMatchObject({ published: 0 });
  });

  test("holds what a stopped broker does not read, and loses none of it", async () => {
    using reader = await RawClient.open(broker.path);
    await reader.subscribe("a");
    bus.publish("a", new Uint8Array(8));
    await bus.flush();
    await reader.nextOf(OPCODE.MESSAGE);
    broker.kill("SIGSTOP");
    const count = 1_200;
    let wasHigh = false;
    using files = new TestFiles(["file"]);
    for (let index = 0; index < count; index += 1) {
      const body = new Uint8Array(1_000);
      new DataView(body.buffer).setUint32(0, index, true);
      const options = index % 100 === 0 ? { fds: files.fds } : {};
      if (!bus.publish("a", body, options)) wasHigh = true;
      if (index % 10 === 0) await Promise.resolve();
    }
    expect(wasHigh).toBe(true);
    broker.kill("SIGCONT");
    const receipt = bus.flush();
    for (let index = 0; index < count; index += 1) {
      const frame = await reader.nextOf(OPCODE.MESSAGE);
      expect(new DataView(frame.body.buffer).getUint32(0, true)).toBe(index);
      expect(frame.fds).toHaveLength(index % 100 === 0 ? 1 : 0);
      for (const fd of frame.fds) OwnedFd.adopt(fd).close();
    }
    expect(await receipt).toMatchObject({
      published: count,
      matched: count,
      delivered: count,
      dropped: 0,
    });
  });
});

describe("Bus.flush()", () => {
  test("tells exactly what became of the messages since the last one", async () => {
    await using other = await connect({ path: broker.path });
    await bus.subscribe("a.*");
    await other.subscribe(">");
    for (let index = 0; index < 10; index += 1) bus.publish("a.b", index);
    for (let index = 0; index < 5; index += 1) bus.publish("c", index);
    expect(await bus.flush()).toMatchObject({
      published: 15,
      matched: 25,
      delivered: 25,
      dropped: 0,
    });
    expect(await bus.flush()).toMatchObject({ published: 0, matched: 0, delivered: 0, dropped: 0 });
  });

  test("rejects with TIMEOUT_FLUSH where the broker does not answer", async () => {
    broker.kill("SIGSTOP");
    const error = await rejectionOf(bus.flush({ timeoutMs: 20 }));
    expect(error).toBeInstanceOf(TimeoutError);
    expect(error).toMatchObject({ code: "TIMEOUT_FLUSH" });
    broker.kill("SIGCONT");
    expect(await bus.flush()).toMatchObject({ published: 0 });
  });

  test("rejects when the broker dies, also while a topic is still being opened", async () => {
    broker.kill("SIGSTOP");
    bus.publish("never.opened", 1);
    const waiting = bus.flush();
    broker.kill("SIGKILL");
    expect(await rejectionOf(waiting)).toMatchObject({ code: "CLOSED_BY_PEER" });
  });
});

describe("the end of a bus", () => {
  test("is told to everybody when the broker dies", async () => {
    const subscription = await bus.subscribe("a");
    const status = bus.status();
    const next = rejectionOf(subscription.next());
    broker.kill("SIGKILL");
    const reason = await bus.closed();
    expect(reason).toBeInstanceOf(ClosedError);
    expect(reason).toMatchObject({ code: "CLOSED_BY_PEER" });
    expect(await next).toBe(reason);
    const events: StatusEvent[] = [];
    for await (const event of status) events.push(event);
    expect(events).toEqual([{ type: "closed", error: reason as Error, unconfirmed: 0 }]);
    expect(thrownBy(() => bus.publish("a", 1))).toBe(reason);
    expect(await rejectionOf(bus.subscribe("b"))).toBe(reason);
    expect(await rejectionOf(bus.flush())).toBe(reason);
  });

  test("is CLOSED_BY_BROKER after a goodbye, behind the last message", async () => {
    const subscription = await bus.subscribe("a");
    bus.publish("a", "last");
    await bus.flush();
    await broker.stop();
    expect(await bus.closed()).toMatchObject({ code: "CLOSED_BY_BROKER" });
    expect(await take(subscription, 1)).toEqual(["last"]);
    expect(await rejectionOf(subscription.next())).toMatchObject({ code: "CLOSED_BY_BROKER" });
    expect(await subscription.next()).toEqual({ done: true, value: undefined });
  });

  test("comes after all that was published before close()", async () => {
    using reader = await RawClient.open(broker.path);
    await reader.subscribe(">");
    for (let index = 0; index < 500; index += 1) bus.publish(`t.${index % 3}`, `${index}`);
    await bus.close();
    expect(await bus.closed()).toBeUndefined();
    const numbers = Array.from({ length: 500 }, (_, index) => `${index}`);
    expect(await reader.nextTexts(500)).toEqual(numbers);
    expect(thrownBy(() => bus.publish("a", 1))).toMatchObject({ code: "CLOSED_BY_USER" });
  });

  test("leaves no fd in this process, whatever was under way", async () => {
    const ownFds = new OwnFds(/^(\/memfd:|socket:|pipe:|\/)/);
    for (let round = 0; round < 5; round += 1) {
      const other = await connect({ path: broker.path });
      const subscription = await other.subscribe("files");
      using files = new TestFiles(["a", "b"]);
      for (let index = 0; index < 3; index += 1) other.publish("files", index, { fds: files.fds });
      await other.flush();
      await eventually(() => subscription.queued === 3, "all messages came");
      await subscription.next();
      other.publish("never.opened", 1, { fds: files.fds });
      if (round % 2 === 0) await subscription.close();
      await other.close();
      await subscription.close();
    }
    await eventually(
      () => ownFds.count === 0,
      () => `${ownFds.count} fds are left`,
    );
  });
});

describe("Bus.subscribe()", () => {
  test("calls back for each message, in order", async () => {
    const seen: unknown[] = [];
    await bus.subscribe("a", { onMessage: (message: Message) => void seen.push(message.data) });
    for (let index = 0; index < 50; index += 1) bus.publish("a", index);
    await bus.flush();
    await eventually(() => seen.length === 50, "all messages came");
    expect(seen).toEqual(Array.from({ length: 50 }, (_, index) => index));
  });

  test("drops beyond queueMessagesMax and counts what it dropped", async () => {
    const status = bus.status();
    const subscription = await bus.subscribe("a", { queueMessagesMax: 3 });
    for (let index = 0; index < 10; index += 1) bus.publish("a", index);
    await bus.flush();
    await eventually(() => subscription.lost === 7, "the loss was counted");
    expect(await take(subscription, 3)).toEqual([0, 1, 2]);
    expect((await status.next()).value).toEqual({
      type: "gap",
      topic: "a",
      count: 7,
      reason: "subscription-full",
    });
  });

  test("ends a subscription when a loop is left, and the broker is told", async () => {
    const subscription = await bus.subscribe("a");
    bus.publish("a", "only");
    for await (const message of subscription) {
      expect(message.data).toBe("only");
      break;
    }
    bus.publish("a", "unheard");
    expect(await bus.flush()).toMatchObject({ published: 2, matched: 1 });
  });

  test("ends a subscription when its signal is aborted", async () => {
    const controller = new AbortController();
    const subscription = await bus.subscribe("a", { signal: controller.signal });
    const next = subscription.next();
    controller.abort();
    expect(await next).toEqual({ done: true, value: undefined });
    bus.publish("a", "unheard");
    await eventually(async () => (await bus.flush()).matched === 0, "the broker was told");
  });

  test("ends a subscription whose signal is aborted before the broker confirmed it", async () => {
    const controller = new AbortController();
    const pending = bus.subscribe("a", { signal: controller.signal });
    controller.abort();
    const subscription = await pending.catch(() => undefined);
    expect((await subscription?.next())?.done ?? true).toBe(true);
    bus.publish("a", "unheard");
    await eventually(async () => (await bus.flush()).matched === 0, "the broker was told");
  });

  test("refuses patterns and options that make no sense", async () => {
    expect(await rejectionOf(bus.subscribe("a.>.b"))).toMatchObject({ code: "ARGUMENT_PATTERN" });
    const onMessage = () => {};
    const counts = [0, -1, 1.5, Number.NaN];
    const wrong = [
      ...counts.map((queueMessagesMax) => ({ queueMessagesMax })),
      ...counts.map((concurrency) => ({ onMessage, concurrency })),
      { concurrency: 1 },
    ];
    for (const options of wrong) {
      expect(await rejectionOf(bus.subscribe("a", options))).toMatchObject({
        code: "ARGUMENT_OPTION",
      });
    }
  });
});

describe("connect()", () => {
  test("names path and remedy where nobody listens", async () => {
    broker.kill("SIGKILL");
    await broker.exited();
    for (const [path, code] of [
      [broker.path, "ECONNREFUSED"],
      [`${broker.path}.missing`, "ENOENT"],
    ] as const) {
      const error = await rejectionOf(connect({ path }));
      expect(error).toBeInstanceOf(SyscallError);
      expect(error).toMatchObject({ code, path, syscall: "connect" });
      expect((error as Error).message).toContain(`seqbus broker --socket ${path}`);
    }
  });

  test("refuses a path that is no socket path", async () => {
    for (const path of ["", "a".repeat(108), "a\0b"]) {
      expect(await rejectionOf(connect({ path }))).toMatchObject({ code: "ARGUMENT_SOCKET_PATH" });
    }
  });

  test("gives up after timeoutMs, or when its signal is aborted", async () => {
    broker.kill("SIGSTOP");
    const { path } = broker;
    expect(await rejectionOf(connect({ path, timeoutMs: 20 }))).toMatchObject({
      code: "TIMEOUT_CONNECT",
    });
    const controller = new AbortController();
    const pending = rejectionOf(connect({ path, signal: controller.signal }));
    controller.abort(new Error("enough"));
    expect(await pending).toMatchObject({ message: "enough" });
    const aborted = AbortSignal.abort(new Error("never"));
    const nowhere = connect({ path: `${path}.missing`, signal: aborted });
    expect(await rejectionOf(nowhere)).toMatchObject({ message: "never" });
    broker.kill("SIGCONT");
  });

  const isRoot = process.getuid?.() === 0;
  testUnless(!isRoot, "only root can run brokers as others", "refuses a squatter", async () => {
    // The directory is root's and sticky, as /tmp is, and a stranger was first.
    await using squatter = await spawnBroker({ uid: 12_345 });
    chownSync(join(squatter.path, ".."), 0, 0);
    const error = await rejectionOf(connect({ path: squatter.path }));
    expect(error).toBeInstanceOf(RejectedError);
    expect(error).toMatchObject({ code: "REJECTED_BROKER" });
    expect(await rejectionOf(connect({ path: squatter.path, brokerUid: 12_345 }))).toMatchObject({
      code: "REJECTED_NOT_OWNER",
    });
  });

  test("reports a listener that hangs up before it says anything", async () => {
    using impostor = new Impostor();
    const pending = rejectionOf(connect({ path: impostor.path }));
    impostor.accept().close();
    expect(await pending).toMatchObject({ code: "CLOSED_BY_PEER" });
  });

  test.each([
    ["zeros", new Uint8Array(16), "PROTOCOL_OPCODE"],
    ["half a header", new Uint8Array(8), "PROTOCOL_PACKET_SIZE"],
    [
      "WELCOME without a lane",
      packetOf((writer) => writer.appendControl(OPCODE.WELCOME, 0, 0, WELCOME)),
      "PROTOCOL_STATE",
    ],
    [
      "WELCOME of another version",
      packetOf((writer) => writer.appendControl(OPCODE.WELCOME, 0, 0, { ...WELCOME, protocol: 2 })),
      "PROTOCOL_VERSION",
    ],
    [
      "something else",
      packetOf((writer) => writer.appendControl(OPCODE.POLICY_CHANGED, 0, 0, undefined)),
      "PROTOCOL_STATE",
    ],
    [
      "another version",
      packetOf((writer) =>
        writer.appendControl(OPCODE.ERROR, 1, 0, { status: 1, message: "no", protocol: 2 }),
      ),
      "PROTOCOL_VERSION",
    ],
    [
      "a limit",
      packetOf((writer) => writer.appendControl(OPCODE.ERROR, 1, 0, { status: 64, message: "no" })),
      "LIMIT_CONNECTIONS",
    ],
  ])("rejects where the listener answers with %s", async (_name, packet, code) => {
    using impostor = new Impostor();
    const pending = rejectionOf(connect({ path: impostor.path }));
    using accepted = impostor.accept();
    const buffer = new PinnedBuffer(packet.byteLength);
    buffer.bytes.set(packet);
    expect(sendPacket(accepted.number, buffer, 0, packet.byteLength)).toBe(packet.byteLength);
    expect(await pending).toMatchObject({ code });
  });
});

/** What a broker of this version says. */
const WELCOME = {
  protocol: 1,
  features: 0,
  connection: 1,
  uid: 0,
  gid: 0,
  pid: 1,
  software: "",
};

/** Something that listens and is no broker. */
class Impostor implements Disposable {
  readonly path: string;
  readonly #directory = mkdtempSync(join(tmpdir(), "seqbus-test-"));
  readonly #socket = OwnedFd.adopt(openSeqpacket());

  constructor() {
    this.path = join(this.#directory, "bus.sock");
    bindPath(this.#socket.number, this.path);
    listen(this.#socket.number, 8);
  }

  /** The client that is waiting; connect() has run to its first pause. */
  accept(): OwnedFd {
    return OwnedFd.adopt(acceptConnection(this.#socket.number));
  }

  [Symbol.dispose](): void {
    this.#socket.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
