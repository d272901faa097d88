/** Messages with a body behind an fd: how the client publishes, receives and queues them. */

import { beforeEach, describe, expect, test } from "bun:test";
import { Inbound, type InboundHost } from "../../../src/client/inbound.ts";
import { OUTBOUND_BYTES_MAX, SUBSCRIPTION_BYTES_MAX_DEFAULT } from "../../../src/client/limits.ts";
import { Memory } from "../../../src/client/memory.ts";
import type { Message } from "../../../src/client/message.ts";
import { Outbound } from "../../../src/client/outbound.ts";
import { Publisher } from "../../../src/client/publisher.ts";
import { Subscription } from "../../../src/client/subscription.ts";
import type { SubscribeOptions } from "../../../src/client/subscription-options.ts";
import { ProtocolError } from "../../../src/errors.ts";
import { getSeals, readMemory, SEALS_FOR_GOOD } from "../../../src/ffi/memfd.ts";
import { closeFd, duplicateFd } from "../../../src/ffi/owned-fd.ts";
import { FRAME_DETAIL_OFFSET } from "../../../src/protocol/frame.ts";
import {
  LARGE_BODY_BYTES_MAX,
  LARGE_SIZE_BYTES,
  MESSAGE_BODY_BYTES_MAX,
  MESSAGE_FDS_MAX,
} from "../../../src/protocol/limits.ts";
import {
  ENCODING,
  FLAG_FDS_ON_LANE,
  FLAG_FDS_WITHHELD,
  FLAG_LARGE,
  OPCODE,
  WITHHELD_REASON,
} from "../../../src/protocol/opcodes.ts";
import { PacketWriter } from "../../../src/protocol/packet.ts";
import { OwnFds } from "../../support/open-files.ts";
import { readText, TestFiles } from "../../support/test-files.ts";
import { SimulatedTransport } from "./simulated-transport.ts";

const TOPIC = 5;
const SENDER = 9;
const LARGE = MESSAGE_BODY_BYTES_MAX + 1;

/** Memory, which is all that these tests open. */
let ownFds: OwnFds;

beforeEach(() => {
  ownFds = new OwnFds(/^\/memfd:/);
});

/** A transport that keeps its own copy of the first fd of each packet. */
class KeepingTransport extends SimulatedTransport implements Disposable {
  readonly bodies: number[] = [];

  override send(...args: Parameters<SimulatedTransport["send"]>): number {
    const sent = super.send(...args);
    const [bodyFd] = args[2];
    if (sent > 0 && bodyFd !== undefined) this.bodies.push(duplicateFd(bodyFd));
    return sent;
  }

  [Symbol.dispose](): void {
    for (const fd of this.bodies) closeFd(fd);
  }
}

function sizeBytes(byteLength: number): Uint8Array {
  const bytes = new Uint8Array(LARGE_SIZE_BYTES);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(byteLength), true);
  return bytes;
}

describe("Publisher.publish()", () => {
  let transport: KeepingTransport;
  let outbound: Outbound;
  let publisher: Publisher;
  let grant: (id: number) => void;

  beforeEach(() => {
    transport = new KeepingTransport();
    outbound = new Outbound(() => {});
    outbound.attach(transport);
    const asked = Promise.withResolvers<number>();
    grant = asked.resolve;
    publisher = new Publisher(
      outbound,
      () => asked.promise,
      () => {},
    );
  });

  async function granted(): Promise<void> {
    grant(TOPIC);
    await new Promise((resolve) => setImmediate(resolve));
  }

  test("puts a body that no packet can carry into sealed memory, closed once it is sent", async () => {
    using kept = transport;
    const bytes = Uint8Array.from({ length: LARGE }, (_, index) => index % 251);
    const before = ownFds.count;
    await granted();
    publisher.publish("a", Uint8Array.of(1));
    await granted();
    publisher.publish("a", bytes);
    publisher.publish("a", Uint8Array.of(2));
    outbound.flush();
    const frames = kept.frames();
    expect(frames.map(({ flags, fdCount }) => [flags, fdCount])).toEqual([
      [0, 0],
      [FLAG_LARGE, 1],
      [0, 0],
    ]);
    expect(frames[1]?.body).toEqual(sizeBytes(LARGE));
    const [bodyFd = -1] = kept.bodies;
    expect(getSeals(bodyFd)).toBe(SEALS_FOR_GOOD);
    const target = new Uint8Array(LARGE);
    readMemory(bodyFd, target);
    expect(Bun.hash(target)).toBe(Bun.hash(bytes));
    expect(ownFds.count).toBe(before + kept.bodies.length);
  });

  test("does the same for text, JSON and msgpack, and says which", async () => {
    using kept = transport;
    await granted();
    const text = "x".repeat(LARGE);
    publisher.publish("a", text);
    await granted();
    publisher.publish("a", text, { encoding: "json" });
    publisher.publish("a", { text });
    const encodings = kept.frames().map(({ flags }) => flags & ~FLAG_LARGE);
    expect(encodings).toEqual([ENCODING.TEXT, ENCODING.JSON, ENCODING.MSGPACK]);
    expect(kept.frames().every(({ flags }) => (flags & FLAG_LARGE) !== 0)).toBe(true);
  });

  test("keeps the body while the topic opens or the socket is full, as much as it may", async () => {
    using kept = transport;
    kept.room = 0;
    const before = ownFds.count;
    const large = new Uint8Array(LARGE_BODY_BYTES_MAX);
    expect(publisher.publish("a", large)).toBe(false);
    publisher.publish("a", large);
    expect(() => publisher.publish("a", Uint8Array.of(1))).toThrow("wait for the broker");
    await granted();
    // The second goes on waiting where it is, until the first has left.
    expect(outbound.waitingBytes).toBeLessThan(OUTBOUND_BYTES_MAX);
    expect(publisher.holdsMessages).toBe(true);
    kept.room = 2;
    outbound.onWritable();
    expect(publisher.holdsMessages).toBe(false);
    expect(outbound.waitingBytes).toBe(0);
    const size = sizeBytes(LARGE_BODY_BYTES_MAX);
    expect(kept.frames().map(({ body }) => body)).toEqual([size, size]);
    expect(ownFds.count).toBe(before + kept.bodies.length);
  });

  test("lets go of bodies that wait when the bus ends", () => {
    const before = ownFds.count;
    publisher.publish("a", new Uint8Array(LARGE));
    expect(ownFds.count).toBe(before + 1);
    publisher.clear();
    expect(ownFds.count).toBe(before);
  });

  test("sends sealed Memory without a copy, as often as wished, with files behind it", async () => {
    using kept = transport;
    using files = new TestFiles(["file"]);
    using memory = Memory.from(Uint8Array.of(1, 2, 3)).seal();
    await granted();
    publisher.publish("a", memory);
    await granted();
    publisher.publish("a", memory, { fds: files.fds });
    expect(kept.frames().map(({ flags, fdCount, body }) => [flags, fdCount, body])).toEqual([
      [FLAG_LARGE, 1, sizeBytes(3)],
      [FLAG_LARGE, 2, sizeBytes(3)],
    ]);
    expect(kept.packets[1]?.fds).toEqual([memory.fd, ...files.fds]);
  });

  test("refuses memory that is not sealed, too large, or to be encoded", () => {
    using open = Memory.from(Uint8Array.of(1));
    expect(() => publisher.publish("a", open)).toThrow("it must be sealed");
    using sealed = Memory.from(Uint8Array.of(1)).seal();
    expect(() => publisher.publish("a", sealed, { encoding: "json" })).toThrow("travels as bytes");
    using large = Memory.from(new Uint8Array(LARGE_BODY_BYTES_MAX + 1)).seal();
    expect(() => publisher.publish("a", large)).toThrow("limit is 67108864");
  });

  test("takes one file less beside a body", () => {
    const fds = Array.from({ length: MESSAGE_FDS_MAX }, () => 0);
    const why = "limit is 252: its body travels as memory, which takes one more";
    expect(() => publisher.publish("a", new Uint8Array(LARGE), { fds })).toThrow(why);
  });
});

describe("Inbound.take()", () => {
  let laneFds: number[];
  let events: unknown[];
  let inbound: Inbound;

  beforeEach(() => {
    laneFds = [];
    events = [];
    const ignore = (): void => {};
    const host: InboundHost = {
      onAck: ignore,
      onError: ignore,
      onGap: ignore,
      onGoodbye: ignore,
      onRevoked: ignore,
      onPolicyChanged: ignore,
      noteStatus: ignore,
      onFdsLost: (topic, count) => void events.push(["fds lost", topic, count]),
      onBodyLost: (topic) => void events.push(["body lost", topic]),
      onServiceFrame: () => {},
      takeLaneFds: () => laneFds.splice(0),
    };
    inbound = new Inbound(host);
    take((writer) => {
      writer.appendControl(OPCODE.TOPIC, 0, TOPIC, { topic: "a" });
      writer.appendControl(OPCODE.SENDER, 0, SENDER, { uid: 7, gid: 8, pid: 9, groups: [] });
    });
  });

  function take(build: (writer: PacketWriter) => void): void {
    const writer = new PacketWriter();
    build(writer);
    inbound.take(writer.bytes.slice(0, writer.packetBytes));
  }

  function takeLarge(byteLength: number, fdCount: number, { flags = 0, topic = TOPIC } = {}): void {
    const all = FLAG_LARGE | FLAG_FDS_ON_LANE | flags;
    take((writer) => {
      writer.append(OPCODE.MESSAGE, all, fdCount, topic, SENDER, sizeBytes(byteLength));
      const isWithheld = (flags & FLAG_FDS_WITHHELD) !== 0;
      writer.bytes[FRAME_DETAIL_OFFSET] = isWithheld ? WITHHELD_REASON.POLICY : 0;
    });
  }

  function subscribe(options: SubscribeOptions = {}): Subscription {
    const subscription = new Subscription(
      "a",
      {
        unsubscribe: async () => {},
        noteLost: () => {},
        noteFill: () => {},
        noteTaken: () => {},
        noteEnded: () => {},
      },
      options,
    );
    inbound.addSubscription(subscription);
    return subscription;
  }

  /** The fd of sealed memory, to be taken over. */
  function memoryFd(bytes: Uint8Array): number {
    using memory = Memory.from(bytes).seal();
    return duplicateFd(memory.fd);
  }

  async function next(subscription: Subscription): Promise<Message> {
    return (await subscription.next()).value;
  }

  test("brings the body out of the first fd, and the others as files", async () => {
    const subscription = subscribe();
    using files = new TestFiles(["file"]);
    laneFds = [memoryFd(Uint8Array.of(1, 2, 3)), ...files.fds.map(duplicateFd)];
    takeLarge(3, 2);
    using message = await next(subscription);
    expect(message).toMatchObject({ byteLength: 3, fdsWithheld: false });
    expect([...message.bytes]).toEqual([1, 2, 3]);
    expect(message.data).toEqual(message.bytes);
    expect(message.fds).toHaveLength(1);
    using file = message.fds.take(0);
    expect(readText(file.fd)).toBe("file");
  });

  test("brings the body where the files are withheld", async () => {
    const subscription = subscribe();
    laneFds = [memoryFd(Uint8Array.of(1))];
    takeLarge(1, 1, { flags: FLAG_FDS_WITHHELD });
    using message = await next(subscription);
    expect(message).toMatchObject({ fdsWithheld: true, fds: { length: 0 } });
    expect([...message.bytes]).toEqual([1]);
  });

  test("keeps bodies readable when the next message is asked for", async () => {
    const subscription = subscribe();
    for (const number of [1, 2]) {
      laneFds = [memoryFd(Uint8Array.of(number))];
      takeLarge(1, 1);
    }
    using first = await next(subscription);
    using second = await next(subscription);
    expect([...first.bytes, ...second.bytes]).toEqual([1, 2]);
  });

  test("keeps the body for one subscription when another has disposed of it", async () => {
    const [one, two] = [subscribe(), subscribe()];
    const before = ownFds.count;
    laneFds = [memoryFd(new Uint8Array(200_000).fill(7))];
    takeLarge(200_000, 1);
    using first = await next(one);
    using second = await next(two);
    const view = first.bytes;
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    expect(() => first.bytes).toThrow("disposed of");
    expect(second.bytes.every((byte) => byte === 7)).toBe(true);
    expect(view).toHaveLength(200_000);
    second[Symbol.dispose]();
    expect(view).toHaveLength(0);
    expect(ownFds.count).toBe(before);
  });

  test("closes everything where no subscription matches", () => {
    const before = ownFds.count;
    laneFds = [memoryFd(Uint8Array.of(1)), memoryFd(Uint8Array.of(2))];
    takeLarge(1, 2);
    expect(ownFds.count).toBe(before);
  });

  test("closes everything of a message that no broker may send", () => {
    subscribe();
    const before = ownFds.count;
    laneFds = [memoryFd(Uint8Array.of(1)), memoryFd(Uint8Array.of(2))];
    expect(() => takeLarge(1, 2, { topic: TOPIC + 1 })).toThrow(ProtocolError);
    expect(ownFds.count).toBe(before);
  });

  test("tells of a body that did not come as a gap, and of files as lost fds", async () => {
    const subscription = subscribe();
    takeLarge(1, 3);
    expect(events).toEqual([["body lost", "a"]]);
    expect(subscription).toMatchObject({ lost: 1, queued: 0 });
    laneFds = [memoryFd(Uint8Array.of(1))];
    takeLarge(1, 3);
    expect(events.slice(1)).toEqual([["fds lost", "a", 2]]);
    using message = await next(subscription);
    expect([...message.bytes]).toEqual([1]);
  });

  test("queues no more memory than a subscription may have, and counts what it drops", async () => {
    const subscription = subscribe();
    using memory = Memory.from(new Uint8Array(LARGE_BODY_BYTES_MAX)).seal();
    const fitting = SUBSCRIPTION_BYTES_MAX_DEFAULT / LARGE_BODY_BYTES_MAX;
    const before = ownFds.count;
    const send = (): void => {
      laneFds = [duplicateFd(memory.fd)];
      takeLarge(LARGE_BODY_BYTES_MAX, 1);
    };
    for (let count = 0; count < fitting + 2; count += 1) send();
    expect(subscription).toMatchObject({ queued: fitting, lost: 2 });
    expect(ownFds.count).toBe(before + fitting);
    (await next(subscription))[Symbol.dispose]();
    send();
    expect(subscription).toMatchObject({ queued: fitting, lost: 2 });
    await subscription.close();
    expect(ownFds.count).toBe(before);
  });
});
