/**
 * One packet of each kind of frame, as raw hex: header words, then one line for each entry of the
 * body's map, then padding. Written down apart from the code under test, so that a change of the
 * wire cannot go unnoticed. Do not generate these from the encoder.
 */

import type { ControlMap } from "../../../src/protocol/control-body.ts";
import { OPCODE } from "../../../src/protocol/opcodes.ts";
import type { PacketSide } from "../../../src/protocol/packet.ts";

/** A packet that holds one frame. */
export interface PacketFixture {
  readonly name: string;
  readonly from: PacketSide;
  /** fds that the kernel delivers with it. */
  readonly receivedFds: number;
  readonly header: {
    readonly opcode: number;
    readonly flags: number;
    readonly fdCount: number;
    readonly id: number;
    readonly origin: number;
  };
  /** A map for control frames, bytes for messages. */
  readonly body: ControlMap | Uint8Array | undefined;
  readonly hex: readonly string[];
}

/** Bytes from hex digits; blanks may stand anywhere. */
export function bytesFromHex(hex: string): Uint8Array {
  return Uint8Array.fromHex(hex.replaceAll(" ", ""));
}

/** The bytes of a fixture's packet, in fresh memory. */
export function fixtureBytes(fixture: PacketFixture): Uint8Array {
  return bytesFromHex(fixture.hex.join(""));
}

/** Every kind of frame, in the order of its opcode and direction. */
export const PACKET_FIXTURES: readonly PacketFixture[] = [
  {
    name: "HELLO",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.HELLO, flags: 0, fdCount: 0, id: 0, origin: 0 },
    body: { protocol: 1, features: 1, software: "probe 1.0" },
    hex: [
      "38000000 01000000 00000000 00000000",
      "83",
      "a870726f746f636f6c 01",
      "a86665617475726573 01",
      "a8736f667477617265 a970726f626520312e30",
    ],
  },
  {
    name: "OPEN_TOPIC",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.OPEN_TOPIC, flags: 0, fdCount: 0, id: 1, origin: 0 },
    body: { topic: "sensors.kitchen" },
    hex: [
      "27000000 02000000 01000000 00000000",
      "81",
      "a5746f706963 af73656e736f72732e6b69746368656e",
      "00",
    ],
  },
  {
    name: "CLOSE_TOPIC",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.CLOSE_TOPIC, flags: 0, fdCount: 0, id: 7, origin: 0 },
    body: undefined,
    hex: ["10000000 03000000 07000000 00000000"],
  },
  {
    name: "SUBSCRIBE",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.SUBSCRIBE, flags: 0, fdCount: 0, id: 2, origin: 0 },
    body: { pattern: "sensors.>" },
    hex: [
      "23000000 04000000 02000000 00000000",
      "81",
      "a77061747465726e a973656e736f72732e3e",
      "0000000000",
    ],
  },
  {
    name: "UNSUBSCRIBE",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.UNSUBSCRIBE, flags: 0, fdCount: 0, id: 3, origin: 0 },
    body: { subscription: 1 },
    hex: ["1f000000 05000000 03000000 00000000", "81", "ac737562736372697074696f6e 01", "00"],
  },
  {
    name: "SYNC",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.SYNC, flags: 0, fdCount: 0, id: 4, origin: 0 },
    body: undefined,
    hex: ["10000000 06000000 04000000 00000000"],
  },
  {
    name: "NOOP",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.NOOP, flags: 0, fdCount: 0, id: 0, origin: 0 },
    body: undefined,
    hex: ["10000000 07000000 00000000 00000000"],
  },
  {
    name: "MESSAGE to broker",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.MESSAGE, flags: 0x2, fdCount: 0, id: 7, origin: 0 },
    body: bytesFromHex("7b2263223a32312e357d"),
    hex: ["1a000000 10020000 07000000 00000000", "7b2263223a32312e357d", "000000000000"],
  },
  {
    name: "MESSAGE with fds to broker",
    from: "client",
    receivedFds: 2,
    header: { opcode: OPCODE.MESSAGE, flags: 0, fdCount: 2, id: 7, origin: 0 },
    body: bytesFromHex("70616972"),
    hex: ["14000000 10000200 07000000 00000000", "70616972", "00000000"],
  },
  {
    name: "MESSAGE with a large body to broker",
    from: "client",
    receivedFds: 2,
    header: { opcode: OPCODE.MESSAGE, flags: 0x7, fdCount: 2, id: 7, origin: 0 },
    body: bytesFromHex("0000010000000000"),
    hex: ["18000000 10070200 07000000 00000000", "0000010000000000"],
  },
  {
    name: "WELCOME",
    from: "broker",
    receivedFds: 1,
    header: { opcode: OPCODE.WELCOME, flags: 0, fdCount: 1, id: 0, origin: 0 },
    body: {
      protocol: 1,
      features: 1,
      connection: 258,
      uid: 1000,
      gid: 1000,
      pid: 4711,
      software: "seqbus 0.1.0",
    },
    hex: [
      "5e000000 80000100 00000000 00000000",
      "87",
      "a870726f746f636f6c 01",
      "a86665617475726573 01",
      "aa636f6e6e656374696f6e cd0102",
      "a3756964 cd03e8",
      "a3676964 cd03e8",
      "a3706964 cd1267",
      "a8736f667477617265 ac73657162757320302e312e30",
      "0000",
    ],
  },
  {
    name: "ACK of OPEN_TOPIC",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.ACK, flags: 0, fdCount: 0, id: 1, origin: 0 },
    body: { topic: 7, sendFds: true },
    hex: [
      "21000000 81000000 01000000 00000000",
      "82",
      "a5746f706963 07",
      "a773656e64466473 c3",
      "00000000000000",
    ],
  },
  {
    name: "ACK of SUBSCRIBE",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.ACK, flags: 0, fdCount: 0, id: 2, origin: 0 },
    body: { subscription: 1 },
    hex: ["1f000000 81000000 02000000 00000000", "81", "ac737562736372697074696f6e 01", "00"],
  },
  {
    name: "ACK of UNSUBSCRIBE",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.ACK, flags: 0, fdCount: 0, id: 3, origin: 0 },
    body: undefined,
    hex: ["10000000 81000000 03000000 00000000"],
  },
  {
    name: "ACK of SYNC",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.ACK, flags: 0, fdCount: 0, id: 4, origin: 0 },
    body: { published: 300, matched: 600, delivered: 590, dropped: 10, denied: 0 },
    hex: [
      "47000000 81000000 04000000 00000000",
      "85",
      "a97075626c6973686564 cd012c",
      "a76d617463686564 cd0258",
      "a964656c697665726564 cd024e",
      "a764726f70706564 0a",
      "a664656e696564 00",
      "00",
    ],
  },
  {
    name: "ERROR",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.ERROR, flags: 0x1, fdCount: 0, id: 0, origin: 0 },
    body: { status: 7, message: "no", topic: "a.b", rule: "p:3", offset: 6, protocol: 1 },
    hex: [
      "49000000 82010000 00000000 00000000",
      "86",
      "a6737461747573 07",
      "a76d657373616765 a26e6f",
      "a5746f706963 a3612e62",
      "a472756c65 a3703a33",
      "a66f6666736574 06",
      "a870726f746f636f6c 01",
      "00000000000000",
    ],
  },
  {
    name: "TOPIC",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.TOPIC, flags: 0, fdCount: 0, id: 7, origin: 0 },
    body: { topic: "sensors.kitchen" },
    hex: [
      "27000000 83000000 07000000 00000000",
      "81",
      "a5746f706963 af73656e736f72732e6b69746368656e",
      "00",
    ],
  },
  {
    name: "MESSAGE with fds on the lane",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.MESSAGE, flags: 0x41, fdCount: 3, id: 7, origin: 258 },
    body: bytesFromHex("6772c3bcc39f65"),
    hex: ["17000000 10410300 07000000 02010000", "6772c3bcc39f65", "00"],
  },
  {
    name: "MESSAGE with fds withheld",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.MESSAGE, flags: 0x83, fdCount: 0, id: 7, origin: 258 },
    body: bytesFromHex("a178"),
    hex: ["12000000 10830000 07000000 02010000", "a178", "000000000000"],
  },
  {
    name: "MESSAGE with a large body, its files withheld",
    from: "broker",
    receivedFds: 1,
    header: { opcode: OPCODE.MESSAGE, flags: 0x84, fdCount: 1, id: 7, origin: 258 },
    body: bytesFromHex("0000000400000000"),
    hex: ["18000000 10840100 07000000 02010000", "0000000400000000"],
  },
  {
    name: "SENDER",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.SENDER, flags: 0, fdCount: 0, id: 258, origin: 0 },
    body: { uid: 1000, gid: 1000, pid: 4711, groups: [27, 65534] },
    hex: [
      "32000000 84000000 02010000 00000000",
      "84",
      "a3756964 cd03e8",
      "a3676964 cd03e8",
      "a3706964 cd1267",
      "a667726f757073 921bcdfffe",
      "000000000000",
    ],
  },
  {
    name: "SENDER_GONE",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.SENDER_GONE, flags: 0, fdCount: 0, id: 258, origin: 0 },
    body: undefined,
    hex: ["10000000 85000000 02010000 00000000"],
  },
  {
    name: "GAP",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.GAP, flags: 0, fdCount: 0, id: 7, origin: 0 },
    body: { count: 8_589_934_592, reason: 1 },
    hex: [
      "28000000 86000000 07000000 00000000",
      "82",
      "a5636f756e74 cf0000000200000000",
      "a6726561736f6e 01",
    ],
  },
  {
    name: "GOODBYE",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.GOODBYE, flags: 0, fdCount: 0, id: 0, origin: 0 },
    body: { status: 96, message: "bye" },
    hex: [
      "25000000 87000000 00000000 00000000",
      "82",
      "a6737461747573 60",
      "a76d657373616765 a3627965",
      "000000",
    ],
  },
];
