import { beforeEach, describe, expect, test } from "bun:test";
import type { Gap } from "../../../src/client/gaps.ts";
import { Inbound, type InboundHost } from "../../../src/client/inbound.ts";
import type { Message } from "../../../src/client/message.ts";
import { Subscription } from "../../../src/client/subscription.ts";
import { ProtocolError } from "../../../src/errors.ts";
import { duplicateFd } from "../../../src/ffi/owned-fd.ts";
import type { ControlMap } from "../../../src/protocol/control-body.ts";
import { FRAME_DETAIL_OFFSET } from "../../../src/protocol/frame.ts";
import {
  ENCODING,
  FLAG_FATAL,
  FLAG_FDS_ON_LANE,
  FLAG_FDS_WITHHELD,
  FLAG_RETAINED,
  OPCODE,
  WITHHELD_REASON,
} from "../../../src/protocol/opcodes.ts";
import { PacketWriter } from "../../../src/protocol/packet.ts";
import { TestFiles } from "../../support/test-files.ts";
import { isOpenFd } from "./simulated-transport.ts";

const TOPIC = 5;
const SENDER = 9;

let host: InboundHost;
let events: unknown[];
let laneFds: number[];
let inbound: Inbound;
let received: Message[];
let gaps: Gap[];

beforeEach(() => {
  events = [];
  laneFds = [];
  received = [];
  gaps = [];
  host = {
    onAck: (id, body) => void events.push(["ack", id, [...body]]),
    onError: (id, { status }, isFatal) => void events.push(["error", id, status, isFatal]),
    onGap: ({ topic, count }) => void events.push(["gap", topic, count]),
    onGoodbye: ({ status }) => void events.push(["goodbye", status]),
    onRevoked: ({ action }) => void events.push(["revoked", action]),
    onPolicyChanged: () => void events.push(["policy changed"]),
    noteStatus: (event) => void events.push(["status", event]),
    onFdsLost: (topic, count) => void events.push(["fds lost", topic, count]),
    onBodyLost: (topic) => void events.push(["body lost", topic]),
    onServiceFrame: (_packet, _words, at) => void events.push(["service frame", at]),
    takeLaneFds: () => [...laneFds],
  };
  inbound = new Inbound(host);
});

/** @param bodies where the bodies that it gets are noted as text */
function subscribe(pattern: string, bodies: unknown[] = []): Subscription {
  const subscriptionHost = {
    unsubscribe: async () => {},
    noteLost: () => {},
    noteFill: () => {},
    noteTaken: () => {},
    noteEnded: () => {},
  };
  const onMessage = (message: Message) => {
    received.push(message);
    bodies.push(new TextDecoder().decode(message.bytes));
    // Fds would be closed behind the callback; the tests look at them first.
    if (message.fds.length > 0) return new Promise<void>(() => {});
    return undefined;
  };
  const onGap = (gap: Gap) => void gaps.push(gap);
  const subscription = new Subscription(pattern, subscriptionHost, { onMessage, onGap });
  inbound.addSubscription(subscription);
  return subscription;
}

function packet(build: (writer: PacketWriter) => void): Uint8Array {
  const writer = new PacketWriter();
  build(writer);
  return writer.bytes.slice(0, writer.packetBytes);
}

function control(opcode: number, id: number, body?: ControlMap, flags = 0): Uint8Array {
  return packet((writer) => writer.appendControl(opcode, flags, id, body));
}

function message(text: string, fields: { flags?: number; fdCount?: number } = {}): Uint8Array {
  const { flags = 0, fdCount = 0 } = fields;
  const body = new TextEncoder().encode(text);
  const bytes = packet((writer) =>
    writer.append(OPCODE.MESSAGE, flags, fdCount, TOPIC, SENDER, body),
  );
  if ((flags & FLAG_FDS_WITHHELD) !== 0) bytes[FRAME_DETAIL_OFFSET] = WITHHELD_REASON.POLICY;
  return bytes;
}

function introduce(topic = "a.b"): void {
  inbound.take(control(OPCODE.TOPIC, TOPIC, { topic }));
  inbound.take(control(OPCODE.SENDER, SENDER, { uid: 7, gid: 8, pid: 9, groups: [10] }));
}

function texts(): string[] {
  return received.map(({ bytes }) => new TextDecoder().decode(bytes));
}

describe("Inbound.take()", () => {
  test("brings a message to the subscriptions that match, with topic and sender", () => {
    subscribe("a.*");
    subscribe("c");
    introduce();
    inbound.take(message("word", { flags: ENCODING.TEXT }));
    expect(received).toHaveLength(1);
    expect(received[0]).toMatchObject({
      topic: "a.b",
      encoding: ENCODING.TEXT,
      data: "word",
      byteLength: 4,
      fdsWithheld: false,
      sender: { connection: SENDER, uid: 7, gid: 8, pid: 9, groups: [10] },
    });
  });

  test("takes many frames of one packet in order", () => {
    subscribe(">");
    const body = new TextEncoder().encode("word");
    inbound.take(
      packet((writer) => {
        writer.appendControl(OPCODE.TOPIC, 0, TOPIC, { topic: "a" });
        writer.appendControl(OPCODE.SENDER, 0, SENDER, { uid: 7, gid: 8, pid: 9, groups: [] });
        writer.append(OPCODE.MESSAGE, 0, 0, TOPIC, SENDER, body);
        writer.appendControl(OPCODE.TOPIC, 0, TOPIC, { topic: "b" });
        writer.append(OPCODE.MESSAGE, 0, 0, TOPIC, SENDER, body);
        writer.appendControl(OPCODE.ACK, 0, 3, undefined);
      }),
    );
    expect(received.map(({ topic }) => topic)).toEqual(["a", "b"]);
    expect(events).toEqual([["ack", 3, []]]);
  });

  test("tells when this client is held back, and when it goes on", () => {
    for (const isHeld of [true, false]) {
      inbound.take(control(OPCODE.HELD, 0, { topic: "a.b", heldMs: 1_500, isHeld }));
    }
    expect(events).toEqual([
      ["status", { type: "held", topic: "a.b", heldMs: 1_500 }],
      ["status", { type: "released", topic: "a.b", heldMs: 1_500 }],
    ]);
  });

  test("notices subscriptions that come and go between messages", () => {
    introduce();
    inbound.take(message("one"));
    const subscription = subscribe("a.b");
    inbound.take(message("two"));
    inbound.removeSubscription(subscription);
    inbound.take(message("three"));
    expect(texts()).toEqual(["two"]);
  });

  test("brings a last value to those alone that have had nothing on its topic", () => {
    const early: unknown[] = [];
    const late: unknown[] = [];
    subscribe("a.*", early);
    introduce();
    inbound.take(message("live"));
    subscribe("a.>", late);

    inbound.take(message("kept", { flags: FLAG_RETAINED }));
    inbound.take(message("kept", { flags: FLAG_RETAINED }));
    inbound.take(message("newer"));

    expect(early).toEqual(["live", "newer"]);
    expect(late).toEqual(["kept", "newer"]);
    expect(received.map(({ retained }) => retained)).toEqual([false, true, false, false]);
  });

  test("reads a packet that lies misaligned in its memory", () => {
    subscribe(">");
    introduce();
    const aligned = message("word");
    const memory = new Uint8Array(aligned.byteLength + 1);
    memory.set(aligned, 1);
    inbound.take(memory.subarray(1));
    expect(texts()).toEqual(["word"]);
  });

  test("passes on what is not a message", () => {
    inbound.take(control(OPCODE.ERROR, 4, { status: 32, message: "no" }));
    inbound.take(control(OPCODE.ERROR, 0, { status: 5, message: "no", offset: 4 }, FLAG_FATAL));
    inbound.take(control(OPCODE.GOODBYE, 0, { status: 96, message: "bye" }));
    expect(events).toEqual([
      ["error", 4, 32, false],
      ["error", 0, 5, true],
      ["goodbye", 96],
    ]);
  });

  test("ignores keys that a later broker may add", () => {
    subscribe("a.b");
    inbound.take(control(OPCODE.TOPIC, TOPIC, { topic: "a.b", colour: "red" }));
    inbound.take(control(OPCODE.SENDER, SENDER, { uid: 1, gid: 1, pid: 1, groups: [], x: null }));
    inbound.take(message("word"));
    expect(texts()).toEqual(["word"]);
  });

  test("counts a gap for the subscriptions of its topic, and without a topic for the only one", () => {
    const ab = subscribe("a.b");
    introduce();
    inbound.take(control(OPCODE.GAP, 0, { count: 2, reason: 1 }));
    expect(ab.lost).toBe(2);
    const c = subscribe("c");
    inbound.take(control(OPCODE.GAP, TOPIC, { count: 3, reason: 1 }));
    expect([ab.lost, c.lost]).toEqual([5, 0]);
    expect(events).toEqual([
      ["gap", undefined, 2],
      ["gap", "a.b", 3],
    ]);
  });

  test("tells each of several subscriptions that some may be missing, where there is no topic", () => {
    const [ab, quiet] = [subscribe("a.b"), subscribe("quiet")];
    introduce();
    inbound.take(control(OPCODE.GAP, 0, { count: 2, reason: 1 }));
    expect([ab.lost, quiet.lost]).toEqual([0, 0]);
    expect(events).toEqual([["gap", undefined, 2]]);
    const some = { topic: undefined, count: undefined, reason: "send-queue-full" as const };
    expect(gaps).toEqual([some, some]);
  });
});

describe("a message with fds", () => {
  test("brings those of the lane, to each subscription its own", () => {
    using files = new TestFiles(["x"]);
    laneFds = files.fds.map(duplicateFd);
    subscribe("a.b");
    subscribe("a.*");
    introduce();
    inbound.take(message("open", { flags: FLAG_FDS_ON_LANE, fdCount: 1 }));
    expect(received.map(({ fds }) => fds.length)).toEqual([1, 1]);
    const taken = received.map(({ fds }) => fds.take(0));
    expect(new Set(taken.map(({ fd }) => fd)).size).toBe(2);
    for (const fd of taken) fd.close();
  });

  test("has them closed where nobody subscribed", () => {
    using files = new TestFiles(["x"]);
    laneFds = files.fds.map(duplicateFd);
    introduce();
    inbound.take(message("open", { flags: FLAG_FDS_ON_LANE, fdCount: 1 }));
    expect(laneFds.some(isOpenFd)).toBe(false);
  });

  test("has them closed where the broker broke the protocol", () => {
    using files = new TestFiles(["x"]);
    laneFds = files.fds.map(duplicateFd);
    const open = message("open", { flags: FLAG_FDS_ON_LANE, fdCount: 1 });
    expect(() => inbound.take(open)).toThrow(ProtocolError);
    expect(laneFds.some(isOpenFd)).toBe(false);
  });

  test("tells how many were lost on the way", () => {
    subscribe(">");
    introduce();
    inbound.take(message("open", { flags: FLAG_FDS_ON_LANE, fdCount: 2 }));
    expect(events).toEqual([["fds lost", "a.b", 2]]);
    expect(texts()).toEqual(["open"]);
  });

  test("says so where they are withheld", () => {
    subscribe(">");
    introduce();
    inbound.take(message("open", { flags: FLAG_FDS_WITHHELD }));
    expect(received[0]).toMatchObject({ fdsWithheld: true });
    expect(received[0]?.fds).toHaveLength(0);
  });
});

describe("a packet that no broker may send", () => {
  const good = message("word");
  const change = (at: number, value: number) => {
    const bytes = good.slice();
    new DataView(bytes.buffer).setUint32(at, value, true);
    return bytes;
  };

  test.each([
    ["is empty", new Uint8Array(0), "PROTOCOL_PACKET_SIZE"],
    ["is half a header", new Uint8Array(8), "PROTOCOL_PACKET_SIZE"],
    ["has an odd length", good.subarray(0, 17), "PROTOCOL_PACKET_SIZE"],
    ["holds a frame of 0 bytes", change(0, 0), "PROTOCOL_FRAME_LENGTH"],
    ["holds a frame that is too long", change(0, 25), "PROTOCOL_FRAME_LENGTH"],
    ["holds a frame of 4 GiB", change(0, 0xffff_ffff), "PROTOCOL_FRAME_LENGTH"],
    ["holds an unknown opcode", change(4, 0xff), "PROTOCOL_OPCODE"],
    ["holds an opcode of clients", control(OPCODE.NOOP, 0), "PROTOCOL_OPCODE"],
    ["holds an unknown flag", change(4, OPCODE.MESSAGE | 0x1000), "PROTOCOL_FLAGS"],
    ["names fds in-band", change(4, OPCODE.MESSAGE | 0x1_0000), "PROTOCOL_LANE"],
    ["names the lane and no fds", change(4, OPCODE.MESSAGE | 0x4000), "PROTOCOL_FD_COUNT"],
    ["names fds that it withholds", change(4, OPCODE.MESSAGE | 0x101_8000), "PROTOCOL_FD_COUNT"],
    ["is a second WELCOME", control(OPCODE.WELCOME, 0, {}), "PROTOCOL_STATE"],
    ["names an unknown topic", change(8, 99), "PROTOCOL_TOPIC_ID"],
    ["names an unknown sender", change(12, 99), "PROTOCOL_STATE"],
    [
      "tells a gap of an unknown topic",
      control(OPCODE.GAP, 99, { count: 1, reason: 1 }),
      "PROTOCOL_TOPIC_ID",
    ],
    ["has a topic without a name", control(OPCODE.TOPIC, 1, {}), "PROTOCOL_CONTROL_BODY"],
    ["has a topic without a body", control(OPCODE.TOPIC, 1), "PROTOCOL_CONTROL_BODY"],
    ["has a gap of -1", control(OPCODE.GAP, 0, { count: -1, reason: 1 }), "PROTOCOL_CONTROL_BODY"],
  ] as const)("%s is a ProtocolError", (_what, bytes, code) => {
    subscribe(">");
    introduce();
    let thrown: unknown;
    try {
      inbound.take(bytes);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(ProtocolError);
    expect(thrown).toMatchObject({ code });
    expect(texts()).toEqual([]);
  });
});
