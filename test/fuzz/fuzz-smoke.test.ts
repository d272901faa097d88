/** A short run of each fuzzer, and canaries: broken code that the fuzzers must find out. */

import { describe, expect, test } from "bun:test";
import { Unpackr } from "msgpackr";
import { ProtocolError, type ProtocolErrorCode } from "../../src/errors.ts";
import { decodeControlBody } from "../../src/protocol/control-body.ts";
import {
  type DecodeBody,
  FAULT_NAMES,
  type FaultName,
  fuzzControlBodies,
} from "./control-body.fuzz.ts";
import { FuzzFailure } from "./fuzz-run.ts";
import { fuzzPackets, type PacketFrames, readFrames } from "./packet.fuzz.ts";

const ITERATIONS = 20_000;
/** Fixed, so that the suite is the same each time; a long run picks its own. */
const SEED = 20_260_101;
const BUDGET = { seed: SEED, iterations: ITERATIONS };

/** A reader that overlooks one kind of error and takes the packet as one frame. */
function overlooking(code: ProtocolErrorCode): PacketFrames {
  return (received, words, bytes) => {
    try {
      return readFrames(received, words, bytes);
    } catch (error) {
      if (error instanceof ProtocolError && error.code === code) return [0];
      throw error;
    }
  };
}

/** The end of the message that decodeControlBody() has for each fault. */
const FAULT_REASONS: Readonly<Record<FaultName, RegExp>> = {
  float: /holds a float, binary or extension value$/,
  double: /holds a float, binary or extension value$/,
  binary: /holds a float, binary or extension value$/,
  extension: /holds a float, binary or extension value$/,
  unused: /holds a float, binary or extension value$/,
  wideUnsigned: /beyond 2\^53 - 1$/,
  wideSigned: /beyond 2\^53 - 1$/,
  surrogate: /not UTF-8$/,
  lengthBomb: /reaches past its end$/,
  nonStringKey: /key is not a string/,
  duplicateKey: /stands in its map twice$/,
  deep: /nests deeper than 4/,
  trailing: /bytes follow its map$/,
  truncated: /reaches past its end$/,
  noMap: /is not a map$/,
};

/** A decoder that overlooks one kind of fault, and then gives what msgpackr makes of the body. */
function lenientDecoder(reason: RegExp): DecodeBody {
  const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true });
  return (bytes, start, end) => {
    try {
      return decodeControlBody(bytes, start, end);
    } catch (error) {
      if (!(error instanceof ProtocolError && reason.test(error.message))) throw error;
    }
    try {
      return unpackr.unpack(bytes.slice(start, end));
    } catch {
      return {};
    }
  };
}

describe("fuzzPackets()", () => {
  test("finds nothing in PacketReader, which takes some packets and refuses others", () => {
    const report = fuzzPackets(BUDGET);
    expect(report.iterations).toBe(ITERATIONS);
    expect(report.accepted).toBeGreaterThan(ITERATIONS / 20);
    expect(report.accepted).toBeLessThan(ITERATIONS);
  });

  test("is repeatable", () => {
    const budget = { seed: 7, iterations: 500 };
    expect(fuzzPackets(budget)).toEqual(fuzzPackets(budget));
  });

  test.each<[ProtocolErrorCode]>([
    ["PROTOCOL_PACKET_SIZE"],
    ["PROTOCOL_FRAME_LENGTH"],
    ["PROTOCOL_OPCODE"],
    ["PROTOCOL_FLAGS"],
    ["PROTOCOL_FD_COUNT"],
    ["PROTOCOL_CONTROL_BODY"],
  ])("finds a reader that overlooks %s", (code) => {
    expect(() => fuzzPackets(BUDGET, overlooking(code))).toThrow(FuzzFailure);
  });

  test("finds a reader that throws something else", () => {
    const broken: PacketFrames = (received, words, bytes) => {
      if ((words[0] ?? 0) > received.packet.byteLength)
        throw new RangeError("Offset is out of bounds");
      return readFrames(received, words, bytes);
    };
    expect(() => fuzzPackets(BUDGET, broken)).toThrow(FuzzFailure);
  });

  test("finds a reader that looks behind the packet", () => {
    const broken: PacketFrames = (received, words, bytes) => {
      const packet = bytes.subarray(0, received.packet.byteLength + 8);
      return readFrames({ ...received, packet }, words, bytes);
    };
    expect(() => fuzzPackets(BUDGET, broken)).toThrow(FuzzFailure);
  });
});

describe("fuzzControlBodies()", () => {
  test("finds nothing in decodeControlBody(), which takes some bodies and refuses others", () => {
    const report = fuzzControlBodies(BUDGET);
    expect(report.iterations).toBe(ITERATIONS);
    expect(report.accepted).toBeGreaterThan(ITERATIONS / 20);
    expect(report.accepted).toBeLessThan(ITERATIONS);
  });

  test.each(FAULT_NAMES.map((fault) => [fault] as const))(
    "finds a decoder that overlooks the fault %s",
    (fault) => {
      const lenient = lenientDecoder(FAULT_REASONS[fault]);
      expect(() => fuzzControlBodies(BUDGET, lenient, [fault])).toThrow(FuzzFailure);
    },
  );

  test("finds a decoder that gives another value", () => {
    const broken: DecodeBody = (bytes, start, end) => {
      const map = decodeControlBody(bytes, start, end);
      return "1k" in map && map["1k"] === 127 ? { ...map, "1k": 128 } : map;
    };
    expect(() => fuzzControlBodies(BUDGET, broken)).toThrow(FuzzFailure);
  });
});
