/**
 * Feeds mutated packets to PacketReader and compares its verdict with a second, slow reading of
 * docs/protocol.md. Run it: bun test/fuzz/packet.fuzz.ts [--seconds N] [--seed S]
 */

import { ProtocolError } from "../../src/errors.ts";
import { PacketReader, type PacketSide } from "../../src/protocol/packet.ts";
import { fixtureBytes, PACKET_FIXTURES } from "../unit/protocol/packet-fixture.ts";
import {
  type FuzzBudget,
  FuzzFailure,
  type FuzzReport,
  fuzzMain,
  type Random,
  runFuzz,
} from "./fuzz-run.ts";
import { joinBytes, mutate } from "./mutation.ts";

/** Garbage behind the packet, which must not matter. */
const TAIL_BYTES = 64;

/** A packet as the kernel hands it over. */
interface Received {
  readonly packet: Uint8Array;
  readonly receivedFds: number;
  readonly from: PacketSide;
}

/** The code under test: byte offsets of the frames, or a ProtocolError. */
export type PacketFrames = (received: Received, words: Uint32Array, bytes: Uint8Array) => number[];

const READER = new PacketReader();

/** PacketReader.read() as the fuzzer calls it. */
export function readFrames(received: Received, words: Uint32Array, bytes: Uint8Array): number[] {
  const { packet, receivedFds, from } = received;
  const count = READER.read(words, bytes, packet.byteLength, receivedFds, from);
  return Array.from(READER.offsets.subarray(0, count));
}

/**
 * Fuzzes a packet reader.
 * @param read the real one, or a broken one that must be found out
 * @throws {FuzzFailure} for a wrong verdict, or any exception but ProtocolError
 */
export function fuzzPackets(budget: FuzzBudget, read: PacketFrames = readFrames): FuzzReport {
  return runFuzz(budget, (random, seed) => {
    const received = makeReceived(random);
    const expected = expectedFrames(received);
    const actual = framesOrError(read, received, random, seed);
    if (`${actual}` !== `${expected}`) {
      const { packet, from, receivedFds } = received;
      const circumstances = `from ${from} with ${receivedFds} fds`;
      const reason = `Reader found [${actual}], wanted [${expected}], ${circumstances}`;
      throw new FuzzFailure(reason, packet, seed);
    }
    return actual !== undefined;
  });
}

function makeReceived(random: Random): Received {
  const from = random.pick<PacketSide>(["client", "broker"]);
  // Now and then the other side's frames too, for the rules on directions.
  const fixtures = PACKET_FIXTURES.filter((each) => each.from === from || random.oneIn(8));
  const first = random.pick(fixtures);
  const parts = [fixtureBytes(first)];
  while (random.oneIn(2) && parts.length < 6) parts.push(fixtureBytes(random.pick(fixtures)));
  if (random.oneIn(50)) parts.push(new Uint8Array(random.pick([4096, 65_520, 65_528])));
  const valid = joinBytes(parts);
  return {
    packet: random.oneIn(4) ? valid : mutate(valid, random),
    receivedFds: random.oneIn(8) ? random.below(4) : first.receivedFds,
    from,
  };
}

function framesOrError(
  read: PacketFrames,
  received: Received,
  random: Random,
  seed: number,
): number[] | undefined {
  const { packet } = received;
  const buffer = new ArrayBuffer(Math.ceil((packet.byteLength + TAIL_BYTES) / 8) * 8);
  const bytes = new Uint8Array(buffer);
  bytes.set(packet);
  bytes.set(random.bytes(TAIL_BYTES), packet.byteLength);
  try {
    return read(received, new Uint32Array(buffer), bytes);
  } catch (error) {
    const inPacket = error instanceof ProtocolError && error.byteOffset <= packet.byteLength;
    if (inPacket) return undefined;
    throw new FuzzFailure(`Reader threw ${error}`, packet, seed, { cause: error });
  }
}

/** What section 4 of the protocol allows: flags that may be set, and whether the body is empty. */
const CLIENT_FRAMES: Readonly<Record<number, readonly [flags: number, bodyBytesMax: number]>> = {
  1: [0, 4096],
  2: [0, 4096],
  3: [0, 0],
  4: [0, 4096],
  5: [0, 4096],
  6: [0x01, 0],
  7: [0, 0],
  8: [0, 0],
  9: [0, 4096],
  10: [0, 4096],
  11: [0, 0],
  12: [0, 4096],
  13: [0, 4096],
  14: [0, 4096],
  15: [0, 4096],
  16: [0x07, 65_520],
  17: [0x0f, 65_520],
  18: [0x1f, 65_520],
  19: [0x01, 0],
  20: [0, 4096],
  32: [0x07, 65_520],
  33: [0, 4096],
  34: [0, 4096],
  35: [0, 4096],
  36: [0x01, 0],
};
const BROKER_FRAMES: typeof CLIENT_FRAMES = {
  16: [0xcf, 65_520],
  17: [0xcf, 65_520],
  18: [0xdf, 65_520],
  19: [0x03, 0],
  20: [0, 65_520],
  128: [0, 65_520],
  129: [0, 65_520],
  130: [1, 65_520],
  131: [0, 65_520],
  132: [0, 65_520],
  133: [0, 0],
  134: [0, 65_520],
  135: [0, 65_520],
  136: [0, 65_520],
  137: [0, 0],
  138: [0, 65_520],
  139: [0, 65_520],
  140: [0x40, 65_520],
  141: [0, 65_520],
};

/** Frames that carry the body of a message, and the bytes that stand before it. */
const PREFIX_BYTES: Readonly<Record<number, number>> = { 16: 0, 17: 8, 18: 0, 32: 8 };

/** The slow reading: offsets of the frames, or undefined for a packet to be refused. */
function expectedFrames({ packet, receivedFds, from }: Received): number[] | undefined {
  if (packet.byteLength < 16 || packet.byteLength > 65_536) return undefined;
  if (packet.byteLength % 8 !== 0) return undefined;
  const offsets: number[] = [];
  let rest = packet;
  let inBandFds = 0;
  while (rest.byteLength > 0) {
    const frame = parseFrame(rest);
    if (frame === undefined || !frameAllowed(frame, from)) return undefined;
    offsets.push(packet.byteLength - rest.byteLength);
    if ((frame.flags & 0x40) === 0) inBandFds += frame.fdCount;
    rest = rest.slice(Math.ceil(frame.bytes / 8) * 8);
  }
  if (inBandFds !== receivedFds) return undefined;
  return inBandFds > 0 && offsets.length > 1 ? undefined : offsets;
}

interface ParsedFrame {
  readonly bytes: number;
  readonly opcode: number;
  readonly flags: number;
  readonly fdCount: number;
  readonly detail: number;
}

function parseFrame(rest: Uint8Array): ParsedFrame | undefined {
  if (rest.byteLength < 16) return undefined;
  const view = new DataView(rest.buffer, rest.byteOffset, rest.byteLength);
  const bytes = view.getUint32(0, true);
  if (bytes < 16 || bytes > rest.byteLength) return undefined;
  const [opcode, flags] = [view.getUint8(4), view.getUint8(5)];
  return { bytes, opcode, flags, fdCount: view.getUint8(6), detail: view.getUint8(7) };
}

function frameAllowed(frame: ParsedFrame, from: PacketSide): boolean {
  const rule = (from === "client" ? CLIENT_FRAMES : BROKER_FRAMES)[frame.opcode];
  if (rule === undefined) return false;
  const [flags, bodyBytesMax] = rule;
  if ((frame.flags | flags) !== flags || frame.bytes - 16 > bodyBytesMax) return false;
  const prefixBytes = PREFIX_BYTES[frame.opcode];
  const isWithheld = prefixBytes !== undefined && (frame.flags & 0x80) !== 0;
  if (isWithheld !== (frame.detail !== 0)) return false;
  if (frame.opcode === 128) return frame.fdCount <= 1;
  if (frame.opcode === 140) return frame.fdCount === 2;
  if (prefixBytes === undefined) return frame.fdCount === 0;
  if (frame.bytes < 16 + prefixBytes) return false;
  const isLarge = (frame.flags & 0x04) !== 0;
  if (isLarge && (frame.bytes !== 24 + prefixBytes || frame.fdCount === 0)) return false;
  if ((frame.flags & 0x40) !== 0 && frame.fdCount === 0) return false;
  if ((frame.flags & 0x80) !== 0 && frame.fdCount > (isLarge ? 1 : 0)) return false;
  return frame.fdCount <= 253;
}

if (import.meta.main) fuzzMain("packet.fuzz", fuzzPackets);
