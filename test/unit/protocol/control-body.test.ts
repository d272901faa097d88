import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Packr, Unpackr } from "msgpackr";
import { AssertionError } from "../../../src/assert.ts";
import { ProtocolError } from "../../../src/errors.ts";
import {
  type ControlMap,
  type ControlValue,
  decodeControlBody,
  encodeControlBody,
} from "../../../src/protocol/control-body.ts";
import { caughtProtocolError } from "./caught-protocol-error.ts";
import { controlMap, mapFromEntries } from "./control-value-arbitrary.ts";
import { bytesFromHex } from "./packet-fixture.ts";

const PACKR = new Packr({ useRecords: false, variableMapSize: true });
const UNPACKR = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: "number" });

function encoded(map: ControlMap): Uint8Array {
  const target = new Uint8Array(new ArrayBuffer(1 << 20));
  return target.slice(0, encodeControlBody(map, target, 0));
}

function decoded(bytes: Uint8Array): ControlMap {
  return decodeControlBody(bytes, 0, bytes.byteLength);
}

/** Checks the codec in both directions on one pair of bytes and value. */
function pinned(hex: string): ControlValue | undefined {
  const body = bytesFromHex(`81a161${hex}`);
  const map = decoded(body);
  expect(encoded(map).toHex()).toBe(body.toHex());
  return map["a"];
}

describe("encodeControlBody() and decodeControlBody()", () => {
  test.each<[string, ControlValue]>([
    ["c0", null],
    ["c2", false],
    ["c3", true],
    ["00", 0],
    ["7f", 127],
    ["cc80", 128],
    ["ccff", 255],
    ["cd0100", 256],
    ["cdffff", 65_535],
    ["ce00010000", 65_536],
    ["ceffffffff", 2 ** 32 - 1],
    ["cf0000000100000000", 2 ** 32],
    ["cf001fffffffffffff", Number.MAX_SAFE_INTEGER],
    ["ff", -1],
    ["e0", -32],
    ["d0df", -33],
    ["d080", -128],
    ["d1ff7f", -129],
    ["d18000", -32_768],
    ["d2ffff7fff", -32_769],
    ["d280000000", -(2 ** 31)],
    ["d3ffffffff7fffffff", -(2 ** 31) - 1],
    ["d3ffe0000000000001", Number.MIN_SAFE_INTEGER],
    ["a0", ""],
    ["a3e282ac", "€"],
    [`bf${"62".repeat(31)}`, "b".repeat(31)],
    [`d920${"62".repeat(32)}`, "b".repeat(32)],
    [`da0100${"62".repeat(256)}`, "b".repeat(256)],
    [`db00010000${"62".repeat(65_536)}`, "b".repeat(65_536)],
    ["90", []],
    ["9301c2a178", [1, false, "x"]],
    [`dc0010${"05".repeat(16)}`, Array(16).fill(5)],
    [`dd00010000${"05".repeat(65_536)}`, Array(65_536).fill(5)],
    ["80", {}],
    ["81a162c0", { b: null }],
    ["9181a16291f6", [{ b: [-10] }]],
  ])("hold %p as the shortest bytes", (hex, value) => {
    expect(pinned(hex)).toEqual(value);
  });

  test("use wider map heads for more keys", () => {
    for (const [count, head] of [
      [15, "8f"],
      [16, "de0010"],
      [65_536, "df00010000"],
    ] as const) {
      const map = mapFromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, 1]));
      const bytes = encoded(map);
      expect(bytes.toHex().startsWith(head)).toBe(true);
      expect(Object.keys(decoded(bytes))).toHaveLength(count);
    }
  });

  test("give any map back", () => {
    fc.assert(
      fc.property(controlMap, (map) => {
        expect(decoded(encoded(map))).toEqual(map);
      }),
    );
  });

  test("are read and written alike by msgpackr", () => {
    fc.assert(
      // msgpackr renames the key __proto__, and packs wide integers as floats, so both stay away.
      fc.property(
        controlMap.filter((map) => !JSON.stringify(map).includes("__proto__")),
        (map) => {
          const bytes = encoded(map);
          expect(plain(UNPACKR.unpack(bytes))).toEqual(plain(map));
          if (!hasWideInteger(map)) expect(decoded(PACKR.pack(map))).toEqual(map);
        },
      ),
    );
  });

  test("keep hostile keys as keys like any other", () => {
    const hostile: ControlValue = mapFromEntries([["polluted", true]]);
    const map = mapFromEntries([
      ["__proto__", hostile],
      ["constructor", 1],
      ["toString", 2],
    ]);
    const copy = decoded(encoded(map));
    expect(Object.keys(copy)).toEqual(["__proto__", "constructor", "toString"]);
    expect(Object.getPrototypeOf(copy)).toBe(null);
    expect("polluted" in {}).toBe(false);
  });
});

describe("encodeControlBody()", () => {
  test("writes from the offset and says how many bytes", () => {
    const target = new Uint8Array(8).fill(0xee);
    expect(encodeControlBody({ a: 5 }, target, 2)).toBe(4);
    expect(target.toHex()).toBe("eeee81a16105eeee");
  });

  test("says how many bytes it wants where the room is too small", () => {
    fc.assert(
      fc.property(controlMap, fc.nat(100), (map, room) => {
        expect(encodeControlBody(map, new Uint8Array(room), 0)).toBe(encoded(map).byteLength);
      }),
    );
  });

  test.each<[string, unknown]>([
    ["a fraction", 1.5],
    ["an integer beyond 2^53 - 1", 2 ** 53],
    ["NaN", Number.NaN],
    ["undefined", undefined],
    ["a function", () => 1],
    ["a bigint", 1n],
    ["a fifth level", { b: { c: { d: {} } } }],
  ])("asserts that there is no %s", (_what, value) => {
    const map = { a: value } as unknown as ControlMap;
    expect(() => encoded(map)).toThrow(AssertionError);
  });
});

describe("decodeControlBody()", () => {
  test("reads from start to end and nothing else", () => {
    const bytes = bytesFromHex("ffff 81a16105 ffff");
    expect(decodeControlBody(bytes, 2, 6)).toEqual(mapFromEntries([["a", 5]]));
  });

  test("takes encodings that are longer than needed", () => {
    const hex =
      "df00000003 d90161 cf0000000000000005 da000162 d3ffffffffffffffff db0000000163 dc0000";
    expect(decoded(bytesFromHex(hex))).toEqual(
      mapFromEntries([
        ["a", 5],
        ["b", -1],
        ["c", []],
      ]),
    );
  });

  test("takes a map four deep", () => {
    expect(decoded(bytesFromHex("81a161 81a162 81a163 80"))).toEqual(
      decoded(bytesFromHex("de0001a161 81a162 81a163 80")),
    );
  });

  test.each<[string, string, number]>([
    ["nothing", "", 0],
    ["nil instead of a map", "c0", 0],
    ["an array instead of a map", "90", 0],
    ["a byte behind the map", "80 00", 1],
    ["a second map", "80 80", 1],
    ["a missing value", "81 a161", 3],
    ["a missing key", "81", 1],
    ["a cut integer", "81 a161 cd01", 5],
    ["a cut string", "81 a161 a2 62", 4],
    ["a string of 4 GiB", "81 a161 dbffffffff 62", 8],
    ["an array of 4 G values", "81 a161 ddffffffff", 8],
    ["a map of 4 G keys", "dfffffffff", 5],
    ["a map that claims one pair more", "82 a16105", 1],
    ["a fifth level", "81a161 81a162 81a163 81a164 80", 13],
    ["a fifth level of arrays", "81a161 91 91 91 90", 7],
    ["a key twice", "82 a16105 a16105", 4],
    ["a key twice in two encodings", "82 a16105 d9016105", 4],
    ["__proto__ twice", `82 ${"a95f5f70726f746f5f5fc0".repeat(2)}`, 12],
    ["an integer key", "81 05 05", 1],
    ["a nil key", "81 c0 05", 1],
    ["a map as key", "81 80 05", 2],
    ["2^53", "81 a161 cf0020000000000000", 12],
    ["2^64 - 1", "81 a161 cfffffffffffffffff", 12],
    ["-2^53", "81 a161 d3ffe0000000000000", 12],
    ["-2^63", "81 a161 d38000000000000000", 12],
    ["a 32-bit float", "81 a161 ca00000000", 3],
    ["a 64-bit float", "81 a161 cb0000000000000000", 3],
    ["binary", "81 a161 c400", 3],
    ["a fixed extension", "81 a161 d40100", 3],
    ["an extension", "81 a161 c70001", 3],
    ["the unused byte c1", "81 a161 c1", 3],
    ["a lone continuation byte", "81 a161 a180", 4],
    ["an overlong slash", "81 a161 a2c0af", 4],
    ["an encoded surrogate", "81 a161 a3eda080", 4],
    ["a key that is not UTF-8", "81 a1ff 05", 2],
  ])("refuses %s", (_what, hex, byteOffset) => {
    const error = caughtProtocolError(() => decoded(bytesFromHex(hex)));
    expect({ code: error.code, byteOffset: error.byteOffset }).toEqual({
      code: "PROTOCOL_CONTROL_BODY",
      byteOffset,
    });
  });

  test("names no payload in its error", () => {
    const error = caughtProtocolError(() => decoded(bytesFromHex("82 a3736563 c0 a3736563 c0")));
    expect(error.message).not.toContain("sec");
  });

  test("throws nothing but ProtocolError for any bytes, and its offset lies in the body", () => {
    const heads = fc.constantFrom(0x81, 0x82, 0x91, 0xa1, 0xc0, 0xcf, 0xd3, 0xd9, 0xdc, 0xde, 0xdf);
    const bytes = fc.array(fc.oneof(fc.nat(255), heads, fc.nat(3)), { maxLength: 60 });
    const body = fc.tuple(fc.boolean(), bytes).map(([map, rest]) => (map ? [0x81, ...rest] : rest));
    fc.assert(
      fc.property(body, (input) => {
        const outcome = outcomeOf(Uint8Array.from(input), 0);
        // What lies before and behind has no say.
        const framed = Uint8Array.from([0xa1, 0xa1, 0xa1, ...input, 0x01, 0x01, 0x01]);
        expect(outcomeOf(framed, 3, input.length + 3)).toEqual(outcome);
      }),
      { numRuns: 2000 },
    );
  });
});

function outcomeOf(bytes: Uint8Array, start: number, end = bytes.byteLength): unknown {
  try {
    return decodeControlBody(bytes, start, end);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    expect(error.code).toBe("PROTOCOL_CONTROL_BODY");
    expect(error.byteOffset).toBeGreaterThanOrEqual(start);
    expect(error.byteOffset).toBeLessThanOrEqual(end);
    return error.byteOffset - start;
  }
}

function hasWideInteger(value: ControlValue): boolean {
  if (typeof value === "number") return value >= 2 ** 32 || value < -(2 ** 31);
  if (typeof value !== "object" || value === null) return false;
  return Object.values(value).some(hasWideInteger);
}

/** The same value with ordinary prototypes, for comparing with what msgpackr makes. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
