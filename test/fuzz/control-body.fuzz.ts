/**
 * Feeds control bodies to decodeControlBody(): valid ones, which it must take; ones with a planted
 * fault, which it must refuse; and mutated ones, where msgpackr must agree with what it takes.
 * Run it: bun test/fuzz/control-body.fuzz.ts [--seconds N] [--seed S]
 */

import { Unpackr } from "msgpackr";
import { ProtocolError } from "../../src/errors.ts";
import { type ControlMap, decodeControlBody } from "../../src/protocol/control-body.ts";
import {
  type FuzzBudget,
  FuzzFailure,
  type FuzzReport,
  fuzzMain,
  type Random,
  runFuzz,
} from "./fuzz-run.ts";
import { joinBytes, mutate } from "./mutation.ts";

/** The code under test: a map, or a ProtocolError. */
export type DecodeBody = (bytes: Uint8Array, start: number, end: number) => ControlMap;

/** Bytes before and behind the body, which must not matter. */
const MARGIN_BYTES = 16;

const DEPTH_MAX = 4;

const UNPACKR = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: "number" });

/** Encodings that no control body may hold, as the value of a key. */
const FAULTY_VALUES = {
  float: "ca3fc00000",
  double: "cb3ff8000000000000",
  binary: "c40101",
  extension: "d40101",
  unused: "c1",
  wideUnsigned: "cf0020000000000000",
  wideSigned: "d3ffe0000000000000",
  surrogate: "a3eda080",
  lengthBomb: "ddfffffff0",
  nonStringKey: "810101",
  duplicateKey: "82a17801a17801",
  deep: "91919190",
} as const;

/** Every fault that is planted. */
export const FAULT_NAMES = [...keysOf(FAULTY_VALUES), "trailing", "truncated", "noMap"] as const;
export type FaultName = (typeof FAULT_NAMES)[number];

/**
 * Fuzzes a decoder of control bodies.
 * @param decode the real one, or a broken one that must be found out
 * @param faults the faults to plant
 * @throws {FuzzFailure} for a wrong verdict or value, or any exception but ProtocolError
 */
export function fuzzControlBodies(
  budget: FuzzBudget,
  decode: DecodeBody = decodeControlBody,
  faults: readonly FaultName[] = FAULT_NAMES,
): FuzzReport {
  return runFuzz(budget, (random, seed) => {
    const valid = writeMap(random, 1, []);
    if (random.oneIn(3)) {
      const map = decodeOrRefuse(decode, valid, random, seed);
      if (map === undefined) throw new FuzzFailure("Decoder refused a valid body", valid, seed);
      checkValue(map, valid, seed);
      return true;
    }
    if (random.oneIn(2)) {
      const fault = random.pick(faults);
      const body = plantFault(fault, valid, random);
      const map = decodeOrRefuse(decode, body, random, seed);
      if (map !== undefined) throw new FuzzFailure(`Decoder took fault "${fault}"`, body, seed);
      return false;
    }
    const body = mutate(valid, random);
    const map = decodeOrRefuse(decode, body, random, seed);
    if (map !== undefined) checkValue(map, body, seed);
    return map !== undefined;
  });
}

function decodeOrRefuse(
  decode: DecodeBody,
  body: Uint8Array,
  random: Random,
  seed: number,
): ControlMap | undefined {
  const bytes = joinBytes([random.bytes(MARGIN_BYTES), body, random.bytes(MARGIN_BYTES)]);
  const end = MARGIN_BYTES + body.byteLength;
  try {
    return decode(bytes, MARGIN_BYTES, end);
  } catch (error) {
    const expected = error instanceof ProtocolError && error.code === "PROTOCOL_CONTROL_BODY";
    if (expected && error.byteOffset >= MARGIN_BYTES && error.byteOffset <= end) return undefined;
    throw new FuzzFailure(`Decoder threw ${error}`, body, seed, { cause: error });
  }
}

/** Whatever was taken must be what msgpackr reads there, and keep to the subset. */
function checkValue(map: ControlMap, body: Uint8Array, seed: number): void {
  if (depthOf(map) > DEPTH_MAX) throw new FuzzFailure("Decoder took a deep body", body, seed);
  const own = JSON.stringify(map);
  // msgpackr renames this one key, and nothing else.
  if (own.includes("__proto__")) return;
  let theirs: string;
  try {
    theirs = JSON.stringify(UNPACKR.unpack(body));
  } catch (cause) {
    throw new FuzzFailure("Decoder took what msgpackr refuses", body, seed, { cause });
  }
  if (own !== theirs) throw new FuzzFailure(`Decoded ${own}, msgpackr ${theirs}`, body, seed);
}

function depthOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

function plantFault(fault: FaultName, valid: Uint8Array, random: Random): Uint8Array {
  if (fault === "trailing") return joinBytes([valid, random.bytes(1 + random.below(4))]);
  if (fault === "truncated") return valid.slice(0, random.below(valid.byteLength));
  if (fault === "noMap") return joinBytes([Uint8Array.of(0x91), valid]);
  const value = Uint8Array.fromHex(FAULTY_VALUES[fault]);
  return writeMap(random, 1, [joinBytes([Uint8Array.of(0xa1, 0x46), value])]);
}

/**
 * Writes a valid map with random keys, none of which is "F" (0x46).
 * @param extra entries to put in at its end, already encoded
 */
function writeMap(random: Random, depth: number, extra: readonly Uint8Array[]): Uint8Array {
  const entries: Uint8Array[] = [];
  for (let index = random.below(4); index > 0; index -= 1) {
    const key = new TextEncoder().encode(`${index}${random.pick(["", "k", "grüße", "__proto__"])}`);
    entries.push(joinBytes([writeString(key, random), writeValue(random, depth + 1)]));
  }
  entries.push(...extra);
  return joinBytes([writeHead(entries.length, [0x80, 0xde, 0xdf], random), ...entries]);
}

function writeValue(random: Random, depth: number): Uint8Array {
  if (depth <= DEPTH_MAX && random.oneIn(3)) {
    if (random.oneIn(2)) return writeMap(random, depth, []);
    const items = Array.from({ length: random.below(4) }, () => writeValue(random, depth + 1));
    return joinBytes([writeHead(items.length, [0x90, 0xdc, 0xdd], random), ...items]);
  }
  if (random.oneIn(3))
    return writeString(new TextEncoder().encode("a€😀".repeat(random.below(40))), random);
  if (random.oneIn(4))
    return Uint8Array.of(random.pick([0xc0, 0xc2, 0xc3, 0x00, 0x7f, 0xe0, 0xff]));
  return writeInteger(random);
}

/** An integer of any width: the head says 1, 2, 4 or 8 bytes, unsigned or signed. */
function writeInteger(random: Random): Uint8Array {
  const width = random.pick([0, 1, 2, 3]);
  const signed = random.oneIn(2);
  const bytes = random.bytes(1 << width);
  if (width === 3) {
    // Within 2^53 - 1: the eleven top bits are the sign, and the twelfth has an opposite.
    const negative = signed && random.oneIn(2);
    bytes.set(negative ? [0xff, 0xe0 | random.below(32)] : [0, random.below(32)]);
    bytes[7] = random.below(255) + 1;
  }
  return joinBytes([Uint8Array.of((signed ? 0xd0 : 0xcc) + width), bytes]);
}

function writeString(text: Uint8Array, random: Random): Uint8Array {
  const length = text.byteLength;
  const heads: Uint8Array[] = [Uint8Array.of(0xda, length >>> 8, length & 0xff)];
  if (length < 32) heads.push(Uint8Array.of(0xa0 + length));
  if (length < 256) heads.push(Uint8Array.of(0xd9, length));
  return joinBytes([random.pick(heads), text]);
}

/** A head for up to 15 items, in one of three widths. */
function writeHead(
  count: number,
  [fixed, wide, wider]: readonly [number, number, number],
  random: Random,
): Uint8Array {
  return random.pick([
    Uint8Array.of(fixed + count),
    Uint8Array.of(fixed + count),
    Uint8Array.of(wide, 0, count),
    Uint8Array.of(wider, 0, 0, 0, count),
  ]);
}

function keysOf<Key extends string>(record: Readonly<Record<Key, unknown>>): Key[] {
  return Object.keys(record) as Key[];
}

if (import.meta.main) fuzzMain("control-body.fuzz", fuzzControlBodies);
