import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { decodeBody, type EncodingName, encodeBody } from "../../../src/client/body-codec.ts";
import { ArgumentError, DataError } from "../../../src/errors.ts";
import { ENCODING, type Encoding } from "../../../src/protocol/opcodes.ts";

const SECRET = "hunter2-payload";

/** Decodes from the middle of a packet, as messages do. */
function decode(encoding: Encoding, body: Uint8Array): unknown {
  const packet = new Uint8Array(new ArrayBuffer(2_048 + body.byteLength));
  packet.fill(0xc1);
  packet.set(body, 1_024);
  return decodeBody(encoding, packet, 1_024, 1_024 + body.byteLength);
}

function roundTrip(data: unknown, name: EncodingName): unknown {
  const { encoding, bytes } = encodeBody(data, name);
  return decode(encoding, bytes.slice());
}

function hex(digits: string): Uint8Array {
  return Uint8Array.fromHex(digits.replaceAll(" ", ""));
}

/** Decodes what must be refused. */
function refusalOf(encoding: Encoding, body: Uint8Array): DataError {
  let thrown: unknown;
  try {
    decode(encoding, body);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(DataError);
  expect(thrown).toMatchObject({ code: "DATA_DECODE" });
  return thrown as DataError;
}

describe("encodeBody()", () => {
  test.each([
    ["a Uint8Array", "auto", Uint8Array.of(1, 2), ENCODING.BYTES],
    ["an ArrayBuffer", "auto", new ArrayBuffer(3), ENCODING.BYTES],
    ["a string", "auto", "text", ENCODING.TEXT],
    ["an object", "auto", { a: 1 }, ENCODING.MSGPACK],
    ["null", "auto", null, ENCODING.MSGPACK],
    ["a number", "auto", 17, ENCODING.MSGPACK],
    ["an array", "json", [1], ENCODING.JSON],
    ["a string", "json", "text", ENCODING.JSON],
    ["a string", "msgpack", "text", ENCODING.MSGPACK],
  ] as const)("writes %s as %s", (...[, name, data, encoding]) => {
    expect(encodeBody(data, name).encoding).toBe(encoding);
  });

  test.each([
    ["a string", "bytes", "text"],
    ["a number", "text", 1],
    ["undefined", "json", undefined],
    ["a bigint", "json", 1n],
    ["a symbol", "msgpack", Symbol("x")],
    ["an error", "msgpack", new Error(SECRET)],
    ["a regular expression", "msgpack", /x/],
  ] as const)("refuses %s as %s", (...[, name, data]) => {
    let thrown: unknown;
    try {
      encodeBody(data, name);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(ArgumentError);
    expect(thrown).toMatchObject({ code: "ARGUMENT_DATA", argument: "data" });
    expect((thrown as Error).message).not.toContain(SECRET);
  });

  test("refuses cycles", () => {
    const cycle: Record<string, unknown> = {};
    cycle["self"] = cycle;
    expect(() => encodeBody(cycle, "msgpack")).toThrow(ArgumentError);
    expect(() => encodeBody(cycle, "json")).toThrow(ArgumentError);
    expect(roundTrip({ after: 1 }, "msgpack")).toEqual({ after: 1 });
  });
});

describe("decodeBody()", () => {
  test("gives back what was encoded", () => {
    const json = fc.jsonValue({ maxDepth: 4 });
    fc.assert(
      fc.property(json, (value) => {
        expect(roundTrip(value, "json")).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
    const leaf = fc.oneof(
      fc.string(),
      fc.integer(),
      fc.double({ noNaN: true }),
      fc.boolean(),
      fc.constant(null),
      fc.uint8Array({ maxLength: 400 }),
    );
    const plain = fc.oneof(
      leaf,
      fc.array(leaf),
      fc.dictionary(fc.stringMatching(/^[a-z]+$/), leaf),
    );
    fc.assert(
      fc.property(plain, (value) => {
        expect(normalized(roundTrip(value, "msgpack"))).toEqual(normalized(value));
      }),
    );
  });

  test("gives text as it was, with every character", () => {
    for (const text of ["", "grüezi 🚌", "\ufeffmark", "\0"]) {
      expect(roundTrip(text, "auto")).toBe(text);
    }
  });

  test("leaves values alone that were decoded before", () => {
    const first = roundTrip({ bytes: Uint8Array.of(1, 2, 3), text: "first" }, "msgpack");
    roundTrip({ bytes: Uint8Array.of(9, 9, 9), text: "other" }, "msgpack");
    expect(normalized(first)).toEqual({ bytes: [1, 2, 3], text: "first" });
  });

  test.each([
    ["an empty body", ""],
    ["a map without its values", "82 a161 01"],
    ["an array of 4 G elements", "dd ffffffff 01"],
    ["a map of 4 G entries", "df ffffffff a161 01"],
    ["a string of 4 GiB", "db ffffffff 61"],
    ["4 GiB of bytes", "c6 ffffffff 61"],
    ["an extension of 4 GiB", "c9 ffffffff 01 61"],
    ["two values", "01 02"],
    ["an error", "d5 65 93a0"],
    ["a regular expression", "c7 04 78 92a161a0"],
    ["an object id", "d6 69 00000001 80"],
    ["a pointer to an object", "d6 70 00000001"],
    ["bundled strings", "d6 62 00000001"],
  ])("refuses %s", (_what, digits) => {
    refusalOf(ENCODING.MSGPACK, hex(digits));
    expect(roundTrip([1, "after"], "msgpack")).toEqual([1, "after"]);
  });

  test("refuses a depth bomb, and decodes on", () => {
    refusalOf(ENCODING.MSGPACK, new Uint8Array(65_000).fill(0x91));
    refusalOf(ENCODING.JSON, new Uint8Array(65_000).fill(0x5b));
    expect(roundTrip({ after: 1 }, "msgpack")).toEqual({ after: 1 });
  });

  test("does not let keys reach a prototype", () => {
    const body = hex("81 a9 5f5f70726f746f5f5f 81 a5 61646d696e c3");
    const value = decode(ENCODING.MSGPACK, body) as Record<string, unknown>;
    expect(value["admin"]).toBeUndefined();
    expect(({} as Record<string, unknown>)["admin"]).toBeUndefined();
  });

  test("refuses text that is not UTF-8, and JSON that is not JSON", () => {
    refusalOf(ENCODING.TEXT, Uint8Array.of(0xff, 0xfe));
    refusalOf(ENCODING.JSON, new TextEncoder().encode("{a:1}"));
    refusalOf(ENCODING.JSON, new Uint8Array(0));
  });

  test("says nothing of the body in its errors", () => {
    const secret = new TextEncoder().encode(SECRET);
    const trailing = new Uint8Array([0xa0 + secret.length, ...secret, ...secret]);
    for (const [encoding, body] of [
      [ENCODING.MSGPACK, trailing],
      [ENCODING.JSON, secret],
      [ENCODING.TEXT, new Uint8Array([...secret, 0xff])],
    ] as const) {
      const error = refusalOf(encoding, body);
      expect(Bun.inspect(error)).not.toContain(SECRET);
      expect(error.cause).toBeUndefined();
    }
  });

  test("throws nothing but DataError, whatever the bytes are", () => {
    const encoding = fc.constantFrom(ENCODING.TEXT, ENCODING.JSON, ENCODING.MSGPACK);
    fc.assert(
      fc.property(encoding, fc.uint8Array({ maxLength: 64 }), (each, body) => {
        try {
          decode(each, body);
        } catch (error) {
          expect(error).toBeInstanceOf(DataError);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

/** Bytes as plain arrays, since decoders choose between Buffer and Uint8Array; -0 as 0. */
function normalized(value: unknown): unknown {
  if (value instanceof Uint8Array) return [...value];
  if (Array.isArray(value)) return value.map(normalized);
  if (typeof value === "number") return value === 0 ? 0 : value;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, normalized(each)]));
}
