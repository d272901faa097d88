import { describe, expect, test } from "bun:test";
import { AssertionError } from "../../../src/assert.ts";
import {
  type ControlMap,
  type ControlValue,
  encodeControlBody,
} from "../../../src/protocol/control-body.ts";
import {
  decodeErrorBody,
  decodeHello,
  decodeOpenTopic,
  decodeSenderBody,
  decodeUnsubscribe,
  helloBody,
  senderBody,
} from "../../../src/protocol/control-messages.ts";
import { CONTROL_BODY_BYTES_MAX, SENDER_GROUPS_MAX } from "../../../src/protocol/limits.ts";
import { caughtProtocolError } from "./caught-protocol-error.ts";
import { BODY_FIXTURES, type BodyFixture } from "./control-message-fixture.ts";

const NAMED_FIXTURES = BODY_FIXTURES.map((fixture) => [fixture.name, fixture] as const);
const FROM_CLIENT = NAMED_FIXTURES.filter(([, fixture]) => fixture.from === "client");
const FROM_BROKER = NAMED_FIXTURES.filter(([, fixture]) => fixture.from === "broker");

/** Where bodies start in these tests: behind a header, as in a packet. */
const START = 16;

function decodedBy<Body>(
  decode: (bytes: Uint8Array, start: number, end: number) => Body,
  map: ControlMap,
): Body {
  const bytes = new Uint8Array(new ArrayBuffer(65_536));
  return decode(bytes, START, START + encodeControlBody(map, bytes, START));
}

function without(map: ControlMap, key: string): ControlMap {
  const { [key]: _dropped, ...rest } = map;
  return rest;
}

function expectRefusal(fixture: BodyFixture, map: ControlMap): void {
  const error = caughtProtocolError(() => decodedBy(fixture.decode, map));
  expect({ code: error.code, byteOffset: error.byteOffset }).toEqual({
    code: "PROTOCOL_CONTROL_BODY",
    byteOffset: START,
  });
}

describe("control bodies", () => {
  test.each(NAMED_FIXTURES)("%s comes back as it was encoded", (_name, fixture) => {
    const map = fixture.toMap(fixture.example);
    expect(map).toEqual(fixture.example);
    expect(decodedBy(fixture.decode, map)).toEqual(fixture.example);
  });

  test.each(NAMED_FIXTURES)("%s may lack its optional keys and no other", (_name, fixture) => {
    for (const key of Object.keys(fixture.example)) {
      const map = without(fixture.example, key);
      if (fixture.optionalKeys.includes(key)) {
        expect(decodedBy(fixture.decode, fixture.toMap(map))).toEqual(map);
      } else {
        expectRefusal(fixture, map);
        expect(() => fixture.toMap(map)).toThrow(AssertionError);
      }
    }
  });

  test.each(NAMED_FIXTURES)("%s is refused with a value of another type", (_name, fixture) => {
    for (const [key, right] of Object.entries(fixture.example)) {
      const wrong: ControlValue[] = [null, true, 1, "x", [1], ["x"], {}].filter(
        (value) => kindOf(value) !== kindOf(right),
      );
      for (const value of [...wrong, ...(typeof right === "number" ? [-1, -(2 ** 40)] : [])]) {
        expectRefusal(fixture, { ...fixture.example, [key]: value });
        expect(() => fixture.toMap({ ...fixture.example, [key]: value })).toThrow(AssertionError);
      }
    }
  });

  test.each(FROM_CLIENT)("%s from a client is refused with an unknown key", (_name, fixture) => {
    expectRefusal(fixture, { ...fixture.example, later: 1 });
  });

  test.each(FROM_BROKER)("%s from the broker may have unknown keys", (_name, fixture) => {
    const map = { ...fixture.example, later: [{ x: null }], big: "x".repeat(8000) };
    expect(decodedBy(fixture.decode, map)).toEqual(fixture.example);
  });
});

describe("decodeHello()", () => {
  test("looks at the version alone where it is not ours", () => {
    const map = { protocol: 2, features: "other", software: 5, unheard: [] };
    expect(decodedBy(decodeHello, map)).toEqual({ protocol: 2, features: 0 });
  });

  test("takes software of 64 bytes and refuses 65", () => {
    const map = { protocol: 1, features: 0, software: "ü".repeat(32) };
    expect(decodedBy(decodeHello, map)).toEqual(map);
    const error = caughtProtocolError(() =>
      decodedBy(decodeHello, { ...map, software: `${map.software}x` }),
    );
    expect(error.message).toBe(
      'Cannot read body of HELLO: the key "software" is not a string of at most 64 bytes',
    );
  });
});

describe("decodeOpenTopic()", () => {
  test("takes a body of CONTROL_BODY_BYTES_MAX and refuses one byte more", () => {
    // The map and its key take 7 bytes, the head of the string 3.
    const topic = "x".repeat(CONTROL_BODY_BYTES_MAX - 10);
    expect(decodedBy(decodeOpenTopic, { topic })).toEqual({ topic });
    const error = caughtProtocolError(() => decodedBy(decodeOpenTopic, { topic: `${topic}x` }));
    expect(error.message).toBe("Cannot read body of OPEN_TOPIC: it has 4097 bytes, limit is 4096");
  });
});

describe("decodeUnsubscribe()", () => {
  test("takes the largest u32 and refuses the number behind it", () => {
    const map = { subscription: 2 ** 32 - 1 };
    expect(decodedBy(decodeUnsubscribe, map)).toEqual(map);
    const error = caughtProtocolError(() =>
      decodedBy(decodeUnsubscribe, { subscription: 2 ** 32 }),
    );
    expect(error.code).toBe("PROTOCOL_CONTROL_BODY");
  });
});

describe("helloBody()", () => {
  test("leaves out what is undefined", () => {
    const map = helloBody({ protocol: 1, features: 0, software: undefined });
    expect(Object.keys(map)).toEqual(["protocol", "features"]);
  });
});

describe("senderBody()", () => {
  const identity = { uid: 0, gid: 0, pid: 1 };

  test("fits a packet with the most groups, and refuses one more", () => {
    const groups = Array<number>(SENDER_GROUPS_MAX).fill(2 ** 32 - 1);
    expect(decodedBy(decodeSenderBody, senderBody({ ...identity, groups })).groups).toEqual(groups);
    expect(() => senderBody({ ...identity, groups: [...groups, 1] })).toThrow(AssertionError);
  });
});

describe("decodeErrorBody()", () => {
  test("takes a status that this version does not know", () => {
    expect(decodedBy(decodeErrorBody, { status: 77, message: "" }).status).toBe(77);
  });
});

/** The type of a value as far as the shapes tell types apart. */
function kindOf(value: ControlValue): string {
  if (Array.isArray(value)) return `array of ${typeof value[0]}`;
  return value === null ? "null" : typeof value;
}
