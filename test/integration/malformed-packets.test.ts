/**
 * What a client gets that breaks the protocol: one ERROR with code and byte offset, and the end.
 * Nothing of the packet takes effect, its fds are closed, and a bystander goes on.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createMemfd } from "../../src/ffi/memfd.ts";
import { OwnedFd } from "../../src/ffi/owned-fd.ts";
import { FLAG_FATAL, OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS, type StatusName } from "../../src/protocol/status-codes.ts";
import { mapOf, messagePacket, packetOf, RawClient, textOf } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";

/** A packet and what the broker must answer. `topic` is the id of an open topic. */
interface Breach {
  readonly name: string;
  readonly packet: (topic: number) => Uint8Array;
  readonly fds?: number;
  readonly code: StatusName;
  readonly offset: number;
}

const TEXT = new TextEncoder().encode("must not arrive");
/** Stands in the frame of a large message. */
const SIZE = new Uint8Array(8);

/** A good message with one header field changed. */
function changedMessage(topic: number, change: (view: DataView) => void): Uint8Array {
  const packet = messagePacket(topic, TEXT);
  change(new DataView(packet.buffer));
  return packet;
}

/** A good message first, and behind it one bad control frame. */
function behindMessage(topic: number, opcode: number, id: number, body: string): Uint8Array {
  return packetOf((writer) => {
    writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, TEXT);
    writer.append(opcode, 0, 0, id, 0, Uint8Array.fromHex(body));
  });
}

const MESSAGE_BYTES = 32;
const EMPTY_MAP = "80";

const BREACHES: readonly Breach[] = [
  {
    name: "8 bytes",
    packet: () => new Uint8Array(8),
    code: "PROTOCOL_PACKET_SIZE",
    offset: 0,
  },
  {
    name: "a length that is not a multiple of 8",
    packet: (topic) => messagePacket(topic, TEXT).subarray(0, 31),
    code: "PROTOCOL_PACKET_SIZE",
    offset: 0,
  },
  {
    name: "65544 bytes",
    packet: (topic) => {
      const packet = new Uint8Array(65_544);
      packet.set(messagePacket(topic, TEXT));
      return packet;
    },
    code: "PROTOCOL_PACKET_SIZE",
    offset: 0,
  },
  {
    name: "65544 bytes with an fd",
    packet: () => new Uint8Array(65_544),
    fds: 1,
    code: "PROTOCOL_PACKET_SIZE",
    offset: 0,
  },
  {
    name: "a frame shorter than its header",
    packet: (topic) => changedMessage(topic, (view) => view.setUint32(0, 15, true)),
    code: "PROTOCOL_FRAME_LENGTH",
    offset: 0,
  },
  {
    name: "a frame of 0 bytes",
    packet: (topic) => changedMessage(topic, (view) => view.setUint32(0, 0, true)),
    code: "PROTOCOL_FRAME_LENGTH",
    offset: 0,
  },
  {
    name: "a frame that reaches past its packet",
    packet: (topic) => changedMessage(topic, (view) => view.setUint32(0, 33, true)),
    code: "PROTOCOL_FRAME_LENGTH",
    offset: 0,
  },
  {
    name: "a frame of 2^32 - 1 bytes",
    packet: (topic) => changedMessage(topic, (view) => view.setUint32(0, 0xffff_ffff, true)),
    code: "PROTOCOL_FRAME_LENGTH",
    offset: 0,
  },
  {
    name: "a good message and then a frame that reaches past the packet",
    packet: (topic) =>
      packetOf((writer) => {
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, TEXT);
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, TEXT);
        writer.words[MESSAGE_BYTES / 4] = MESSAGE_BYTES + 8;
      }),
    code: "PROTOCOL_FRAME_LENGTH",
    offset: MESSAGE_BYTES,
  },
  {
    name: "an unknown opcode",
    packet: (topic) => changedMessage(topic, (view) => view.setUint8(4, 0x1f)),
    code: "PROTOCOL_OPCODE",
    offset: 4,
  },
  {
    name: "opcode 0",
    packet: (topic) => changedMessage(topic, (view) => view.setUint8(4, 0)),
    code: "PROTOCOL_OPCODE",
    offset: 4,
  },
  {
    name: "an opcode of the broker",
    packet: () => packetOf((writer) => writer.append(OPCODE.WELCOME, 0, 0, 0, 0, undefined)),
    code: "PROTOCOL_OPCODE",
    offset: 4,
  },
  {
    name: "an unknown flag",
    packet: (topic) => changedMessage(topic, (view) => view.setUint8(5, 0x08)),
    code: "PROTOCOL_FLAGS",
    offset: 5,
  },
  {
    name: "a large message without an fd",
    packet: (topic) => packetOf((w) => w.append(OPCODE.MESSAGE, 0x04, 0, topic, 0, SIZE)),
    code: "PROTOCOL_FD_COUNT",
    offset: 6,
  },
  {
    name: "a large message with no length",
    packet: (topic) => packetOf((w) => w.append(OPCODE.MESSAGE, 0x04, 1, topic, 0, undefined)),
    fds: 1,
    code: "PROTOCOL_FRAME_LENGTH",
    offset: 0,
  },
  {
    name: "a large message with more than its length",
    packet: (topic) => packetOf((w) => w.append(OPCODE.MESSAGE, 0x04, 1, topic, 0, TEXT)),
    fds: 1,
    code: "PROTOCOL_FRAME_LENGTH",
    offset: 0,
  },
  {
    name: "a flag of the broker",
    packet: (topic) => changedMessage(topic, (view) => view.setUint8(5, 0x80)),
    code: "PROTOCOL_FLAGS",
    offset: 5,
  },
  {
    name: "a flag on a control frame",
    packet: () => packetOf((writer) => writer.append(OPCODE.NOOP, 1, 0, 0, 0, undefined)),
    code: "PROTOCOL_FLAGS",
    offset: 5,
  },
  {
    name: "a message that names an fd and has none",
    packet: (topic) => messagePacket(topic, TEXT, 1),
    code: "PROTOCOL_FD_COUNT",
    offset: 6,
  },
  {
    name: "a message that names fewer fds than came",
    packet: (topic) => messagePacket(topic, TEXT, 1),
    fds: 2,
    code: "PROTOCOL_FD_COUNT",
    offset: 6,
  },
  {
    name: "a message that names more fds than came",
    packet: (topic) => messagePacket(topic, TEXT, 3),
    fds: 2,
    code: "PROTOCOL_FD_COUNT",
    offset: 6,
  },
  {
    name: "a message that names no fds and has some",
    packet: (topic) => messagePacket(topic, TEXT, 0),
    fds: 253,
    code: "PROTOCOL_FD_COUNT",
    offset: 6,
  },
  {
    name: "a message that names 254 fds",
    packet: (topic) => messagePacket(topic, TEXT, 254),
    fds: 2,
    code: "PROTOCOL_FD_COUNT",
    offset: 6,
  },
  {
    name: "two messages in a packet, one with an fd",
    packet: (topic) =>
      packetOf((writer) => {
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, TEXT);
        writer.append(OPCODE.MESSAGE, 0, 1, topic, 0, TEXT);
      }),
    fds: 1,
    code: "PROTOCOL_FD_COUNT",
    offset: 6,
  },
  {
    name: "a control frame with an fd",
    packet: () => packetOf((writer) => writer.append(OPCODE.NOOP, 0, 1, 0, 0, undefined)),
    fds: 1,
    code: "PROTOCOL_FD_COUNT",
    offset: 6,
  },
  {
    name: "a control frame that fds came with",
    packet: () => packetOf((writer) => writer.append(OPCODE.NOOP, 0, 0, 0, 0, undefined)),
    fds: 2,
    code: "PROTOCOL_FD_COUNT",
    offset: 6,
  },
  {
    name: "a body where none may be",
    packet: () => packetOf((writer) => writer.append(OPCODE.NOOP, 0, 0, 0, 0, TEXT)),
    code: "PROTOCOL_CONTROL_BODY",
    offset: 0,
  },
  {
    name: "a control body of 4097 bytes",
    packet: () =>
      packetOf((writer) => writer.append(OPCODE.SUBSCRIBE, 0, 0, 1, 0, new Uint8Array(4_097))),
    code: "PROTOCOL_CONTROL_BODY",
    offset: 0,
  },
  {
    name: "a message and then SUBSCRIBE with a key missing",
    packet: (topic) => behindMessage(topic, OPCODE.SUBSCRIBE, 1, EMPTY_MAP),
    code: "PROTOCOL_CONTROL_BODY",
    offset: MESSAGE_BYTES + 16,
  },
  {
    name: "a message and then OPEN_TOPIC whose body is no msgpack",
    packet: (topic) => behindMessage(topic, OPCODE.OPEN_TOPIC, 1, "c1"),
    code: "PROTOCOL_CONTROL_BODY",
    offset: MESSAGE_BYTES + 16,
  },
  {
    name: "a message and then a second HELLO",
    packet: (topic) => behindMessage(topic, OPCODE.HELLO, 0, EMPTY_MAP),
    code: "PROTOCOL_STATE",
    offset: MESSAGE_BYTES,
  },
  {
    name: "a message and then a request with id 0",
    packet: (topic) => behindMessage(topic, OPCODE.SYNC, 0, ""),
    code: "PROTOCOL_REQUEST_ID",
    offset: MESSAGE_BYTES,
  },
  {
    name: "a message and then CLOSE_TOPIC of a topic that is not open",
    packet: (topic) => behindMessage(topic, OPCODE.CLOSE_TOPIC, 999, ""),
    code: "PROTOCOL_TOPIC_ID",
    offset: MESSAGE_BYTES,
  },
  {
    name: "a message and then one on a topic that is not open",
    packet: (topic) =>
      packetOf((writer) => {
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, TEXT);
        writer.append(OPCODE.MESSAGE, 0, 0, topic + 1, 0, TEXT);
      }),
    code: "PROTOCOL_TOPIC_ID",
    offset: MESSAGE_BYTES,
  },
  {
    name: "a message, a NOOP, and a message on a topic that is not open",
    packet: (topic) =>
      packetOf((writer) => {
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, TEXT);
        writer.append(OPCODE.NOOP, 0, 0, 0, 0, undefined);
        writer.append(OPCODE.MESSAGE, 0, 0, topic + 1, 0, TEXT);
      }),
    code: "PROTOCOL_TOPIC_ID",
    offset: MESSAGE_BYTES + 16,
  },
  {
    name: "CLOSE_TOPIC, and a message on that topic",
    packet: (topic) =>
      packetOf((writer) => {
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, TEXT);
        writer.append(OPCODE.CLOSE_TOPIC, 0, 0, topic, 0, undefined);
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, TEXT);
      }),
    code: "PROTOCOL_TOPIC_ID",
    offset: MESSAGE_BYTES + 16,
  },
  {
    name: "a message with an fd on a topic that is not open",
    packet: (topic) => messagePacket(topic + 1, TEXT, 1),
    fds: 1,
    code: "PROTOCOL_TOPIC_ID",
    offset: 0,
  },
];

/** First packets that are wrong. */
const FALSE_STARTS: readonly (Omit<Breach, "packet"> & { readonly packet: Uint8Array })[] = [
  {
    name: "a message",
    packet: messagePacket(1, TEXT),
    code: "PROTOCOL_STATE",
    offset: 0,
  },
  {
    name: "a message with an fd",
    packet: messagePacket(1, TEXT, 1),
    fds: 1,
    code: "PROTOCOL_STATE",
    offset: 0,
  },
  {
    name: "SUBSCRIBE",
    packet: packetOf((writer) => {
      writer.appendControl(OPCODE.SUBSCRIBE, 0, 1, { pattern: ">" });
    }),
    code: "PROTOCOL_STATE",
    offset: 0,
  },
  {
    name: "HELLO and another frame",
    packet: packetOf((writer) => {
      writer.appendControl(OPCODE.HELLO, 0, 0, { protocol: 1, features: 0 });
      writer.appendControl(OPCODE.NOOP, 0, 0, undefined);
    }),
    code: "PROTOCOL_STATE",
    offset: 0,
  },
  {
    name: "HELLO with a key of its own",
    packet: packetOf((writer) => {
      writer.appendControl(OPCODE.HELLO, 0, 0, { protocol: 1, features: 0, uid: 0 });
    }),
    code: "PROTOCOL_CONTROL_BODY",
    offset: 16,
  },
  {
    name: "HELLO with fds",
    packet: packetOf((writer) => {
      writer.appendControl(OPCODE.HELLO, 0, 0, { protocol: 1, features: 0 });
    }),
    fds: 3,
    code: "PROTOCOL_FD_COUNT",
    offset: 6,
  },
  {
    name: "16 bytes of zeros",
    packet: new Uint8Array(16),
    code: "PROTOCOL_OPCODE",
    offset: 4,
  },
  {
    name: "HELLO of protocol version 2",
    packet: packetOf((writer) => {
      writer.appendControl(OPCODE.HELLO, 0, 0, { protocol: 2, colour: "red" });
    }),
    code: "PROTOCOL_VERSION",
    offset: 0,
  },
];

/** Memfds for a packet, closed here after it was sent. */
function sendWithFds(client: RawClient, packet: Uint8Array, count: number): void {
  const owned = Array.from({ length: count }, () => OwnedFd.adopt(createMemfd("breach")));
  try {
    client.send(
      packet,
      owned.map((fd) => fd.number),
    );
  } finally {
    for (const fd of owned) fd.close();
  }
}

/** The end of a connection: exactly one frame, a fatal ERROR. */
async function expectRefusal(
  client: RawClient,
  { code, offset }: Pick<Breach, "code" | "offset">,
): Promise<void> {
  const frames = await client.untilEnd();
  expect(frames.map(({ opcode, flags, id }) => ({ opcode, flags, id }))).toEqual([
    { opcode: OPCODE.ERROR, flags: FLAG_FATAL, id: 0 },
  ]);
  const [error] = frames;
  if (error === undefined) return;
  expect(mapOf(error)).toMatchObject({ status: STATUS[code], offset });
  expect(mapOf(error)["message"]).toBeString();
}

let broker: SpawnedBroker;
let watcher: RawClient;
let speaker: RawClient;
let speakerTopic: number;
let fdsAtRest: number;

beforeAll(async () => {
  // Newer kernels would not let fds in that come before HELLO.
  broker = await spawnBroker({ keepFdsOut: false });
  watcher = await RawClient.open(broker.path);
  await watcher.subscribe(">");
  speaker = await RawClient.open(broker.path);
  speakerTopic = await speaker.openTopic("bystander");
  await expectBystandersGoOn("first");
  fdsAtRest = await broker.fdsAtRest();
});

afterAll(async () => {
  watcher[Symbol.dispose]();
  speaker[Symbol.dispose]();
  await broker[Symbol.asyncDispose]();
});

/** The two bystanders still reach each other, and nothing else has come in between. */
async function expectBystandersGoOn(text: string): Promise<void> {
  speaker.sendMessage(speakerTopic, text);
  expect(textOf(await watcher.nextOf(OPCODE.MESSAGE))).toBe(text);
}

describe("a packet with", () => {
  test.each(BREACHES)("$name ends its sender with $code", async (breach) => {
    using client = await RawClient.open(broker.path);
    const topic = await client.openTopic("breached");
    sendWithFds(client, breach.packet(topic), breach.fds ?? 0);
    await expectRefusal(client, breach);
    await expectBystandersGoOn(breach.name);
    await broker.expectFds(fdsAtRest);
  });
});

describe("a first packet with", () => {
  test.each(FALSE_STARTS)("$name is refused with $code", async (breach) => {
    using client = RawClient.connect(broker.path);
    sendWithFds(client, breach.packet, breach.fds ?? 0);
    await expectRefusal(client, breach);
    await expectBystandersGoOn(breach.name);
    await broker.expectFds(fdsAtRest);
  });

  test("another protocol version learns the broker's", async () => {
    using client = RawClient.connect(broker.path);
    client.sendControl(OPCODE.HELLO, 0, { protocol: 7 });
    const [error] = await client.untilEnd();
    expect(error && mapOf(error)).toMatchObject({ status: STATUS.PROTOCOL_VERSION, protocol: 1 });
  });
});
