/**
 * The packets of packet-fixture.ts that belong to services, last values, channels and questions, and
 * what a fixture is. The same holds here: written down apart from the code under test.
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
    /** Default 0. */
    readonly detail?: number;
  };
  /** A map for control frames, bytes for messages. */
  readonly body: ControlMap | Uint8Array | undefined;
  readonly hex: readonly string[];
}

/** Bytes from hex digits; blanks may stand anywhere. */
export function bytesFromHex(hex: string): Uint8Array {
  return Uint8Array.fromHex(hex.replaceAll(" ", ""));
}

/** In the order of opcode and direction. */
export const SERVICE_PACKET_FIXTURES: readonly PacketFixture[] = [
  {
    name: "OPEN_SERVICE",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.OPEN_SERVICE, flags: 0, fdCount: 0, id: 5, origin: 0 },
    body: { service: "files.open" },
    hex: [
      "24000000 0a000000 05000000 00000000",
      "81",
      "a773657276696365 aa66696c65732e6f70656e",
      "00000000",
    ],
  },
  {
    name: "CLOSE_SERVICE",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.CLOSE_SERVICE, flags: 0, fdCount: 0, id: 9, origin: 0 },
    body: undefined,
    hex: ["10000000 0b000000 09000000 00000000"],
  },
  {
    name: "SERVE",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.SERVE, flags: 0, fdCount: 0, id: 6, origin: 0 },
    body: { service: "files.open", shared: false, ifOwned: "queue", channels: true },
    hex: [
      "44000000 0c000000 06000000 00000000",
      "84",
      "a773657276696365 aa66696c65732e6f70656e",
      "a6736861726564 c2",
      "a769664f776e6564 a57175657565",
      "a86368616e6e656c73 c3",
      "00000000",
    ],
  },
  {
    name: "UNSERVE",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.UNSERVE, flags: 0, fdCount: 0, id: 7, origin: 0 },
    body: { service: 9 },
    hex: ["1a000000 0d000000 07000000 00000000", "81", "a773657276696365 09", "000000000000"],
  },
  {
    name: "WATCH",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.WATCH, flags: 0, fdCount: 0, id: 8, origin: 0 },
    body: { service: "files.open" },
    hex: [
      "24000000 0e000000 08000000 00000000",
      "81",
      "a773657276696365 aa66696c65732e6f70656e",
      "00000000",
    ],
  },
  {
    name: "UNWATCH",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.UNWATCH, flags: 0, fdCount: 0, id: 9, origin: 0 },
    body: { service: 9 },
    hex: ["1a000000 0f000000 09000000 00000000", "81", "a773657276696365 09", "000000000000"],
  },
  {
    name: "REQUEST to broker",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.REQUEST, flags: 0xb, fdCount: 0, id: 9, origin: 0 },
    body: bytesFromHex("0a00000088130000a178"),
    hex: ["1a000000 110b0000 09000000 00000000", "0a00000088130000a178", "000000000000"],
  },
  {
    name: "REQUEST with a large body to broker",
    from: "client",
    receivedFds: 1,
    header: { opcode: OPCODE.REQUEST, flags: 0x4, fdCount: 1, id: 9, origin: 0 },
    body: bytesFromHex("0a000000000000000000010000000000"),
    hex: ["20000000 11040100 09000000 00000000", "0a000000000000000000010000000000"],
  },
  {
    name: "REPLY to broker",
    from: "client",
    receivedFds: 1,
    header: { opcode: OPCODE.REPLY, flags: 0xb, fdCount: 1, id: 300, origin: 0 },
    body: bytesFromHex("a178"),
    hex: ["12000000 120b0100 2c010000 00000000", "a178", "000000000000"],
  },
  {
    name: "CANCEL to broker",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.CANCEL, flags: 0x1, fdCount: 0, id: 10, origin: 0 },
    body: undefined,
    hex: ["10000000 13010000 0a000000 00000000"],
  },
  {
    name: "CREDIT to broker",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.CREDIT, flags: 0, fdCount: 0, id: 10, origin: 0 },
    body: { count: 32 },
    hex: ["18000000 14000000 0a000000 00000000", "81", "a5636f756e74 20"],
  },
  {
    name: "RETAIN",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.RETAIN, flags: 0x1, fdCount: 0, id: 7, origin: 0 },
    body: bytesFromHex("60090000000000006869"),
    hex: ["1a000000 20010000 07000000 00000000", "60090000000000006869", "000000000000"],
  },
  {
    name: "CLEAR_RETAINED",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.CLEAR_RETAINED, flags: 0, fdCount: 0, id: 11, origin: 0 },
    body: { topic: "a.b" },
    hex: ["1b000000 21000000 0b000000 00000000", "81", "a5746f706963 a3612e62", "0000000000"],
  },
  {
    name: "OPEN_CHANNEL",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.OPEN_CHANNEL, flags: 0, fdCount: 0, id: 12, origin: 0 },
    body: { service: "files.open" },
    hex: [
      "24000000 22000000 0c000000 00000000",
      "81",
      "a773657276696365 aa66696c65732e6f70656e",
      "00000000",
    ],
  },
  {
    name: "QUERY",
    from: "client",
    receivedFds: 0,
    header: { opcode: OPCODE.QUERY, flags: 0, fdCount: 0, id: 13, origin: 0 },
    body: { what: "topics", about: "a.>" },
    hex: [
      "27000000 23000000 0d000000 00000000",
      "82",
      "a477686174 a6746f70696373",
      "a561626f7574 a3612e3e",
      "00",
    ],
  },
  {
    name: "MESSAGE of before the subscription",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.MESSAGE, flags: 0xb, fdCount: 0, id: 7, origin: 258 },
    body: bytesFromHex("a178"),
    hex: ["12000000 100b0000 07000000 02010000", "a178", "000000000000"],
  },
  {
    name: "REQUEST",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.REQUEST, flags: 0x48, fdCount: 2, id: 9, origin: 258 },
    body: bytesFromHex("2c01000088130000a178"),
    hex: ["1a000000 11480200 09000000 02010000", "2c01000088130000a178", "000000000000"],
  },
  {
    name: "REPLY, failed",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.REPLY, flags: 0x13, fdCount: 0, id: 10, origin: 259 },
    body: bytesFromHex("80"),
    hex: ["11000000 12130000 0a000000 03010000", "80", "00000000000000"],
  },
  {
    name: "REPLY with fds withheld",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.REPLY, flags: 0x80, fdCount: 0, id: 10, origin: 259, detail: 3 },
    body: bytesFromHex("a178"),
    hex: ["12000000 12800003 0a000000 03010000", "a178", "000000000000"],
  },
  {
    name: "CANCEL",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.CANCEL, flags: 0x2, fdCount: 0, id: 300, origin: 0 },
    body: undefined,
    hex: ["10000000 13020000 2c010000 00000000"],
  },
  {
    name: "CREDIT",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.CREDIT, flags: 0, fdCount: 0, id: 300, origin: 0 },
    body: { count: 32 },
    hex: ["18000000 14000000 2c010000 00000000", "81", "a5636f756e74 20"],
  },
  {
    name: "SERVICE",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.SERVICE, flags: 0, fdCount: 0, id: 9, origin: 0 },
    body: { generation: 4, owners: [258, 259], count: 2 },
    hex: [
      "32000000 8a000000 09000000 00000000",
      "83",
      "aa67656e65726174696f6e 04",
      "a66f776e657273 92cd0102cd0103",
      "a5636f756e74 02",
      "000000000000",
    ],
  },
  {
    name: "OWNERSHIP",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.OWNERSHIP, flags: 0, fdCount: 0, id: 9, origin: 0 },
    body: { generation: 5, isOwner: true },
    hex: [
      "26000000 8b000000 09000000 00000000",
      "82",
      "aa67656e65726174696f6e 05",
      "a769734f776e6572 c3",
      "0000",
    ],
  },
  {
    name: "CHANNEL",
    from: "broker",
    receivedFds: 2,
    header: { opcode: OPCODE.CHANNEL, flags: 0, fdCount: 2, id: 12, origin: 0 },
    body: { service: "files.open", peer: 259 },
    hex: [
      "2c000000 8c000200 0c000000 00000000",
      "82",
      "a773657276696365 aa66696c65732e6f70656e",
      "a470656572 cd0103",
      "00000000",
    ],
  },
  {
    name: "CHANNEL on the lane",
    from: "broker",
    receivedFds: 0,
    header: { opcode: OPCODE.CHANNEL, flags: 0x40, fdCount: 2, id: 0, origin: 0 },
    body: { service: "files.open", peer: 258 },
    hex: [
      "2c000000 8c400200 00000000 00000000",
      "82",
      "a773657276696365 aa66696c65732e6f70656e",
      "a470656572 cd0102",
      "00000000",
    ],
  },
];
