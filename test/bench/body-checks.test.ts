/** The checks on what a message holds beside its number: the bytes of a body, the fields of an object. */

import { describe, expect, test } from "bun:test";
import { FILLER_BYTE } from "../../bench/message-ring.ts";
import { readSampleObject, SAMPLE_CELSIUS, SAMPLE_UNIT } from "../../bench/sample-object.ts";
import { readEveryByte } from "../../bench/subscriber-check.ts";

const BODY_BYTES = 16_384;
const PAGE_BYTES = 4_096;

function bodyOf(): Uint8Array {
  const body = new Uint8Array(BODY_BYTES).fill(FILLER_BYTE);
  return body.fill(1, 0, 8);
}

describe("readEveryByte()", () => {
  test("takes a body with any front, an end, and a body among other bytes", () => {
    expect(() => readEveryByte(bodyOf())).not.toThrow();
    expect(() => readEveryByte(new Uint8Array(8))).not.toThrow();
    const bytes = new Uint8Array(BODY_BYTES + 20);
    bytes.set(bodyOf(), 10);
    expect(() => readEveryByte(bytes, 10, 10 + BODY_BYTES)).not.toThrow();
    expect(() => readEveryByte(bytes, 10, 11 + BODY_BYTES)).toThrow("that was not sent");
  });

  test("throws for a page of zeros, wherever it is", () => {
    for (let at = 0; at < BODY_BYTES; at += PAGE_BYTES) {
      const body = bodyOf().fill(0, at, at + PAGE_BYTES);
      expect(() => readEveryByte(body), `at ${at}`).toThrow("Got a body that was not sent");
    }
    const zeros = new Uint8Array(BODY_BYTES);
    expect(() => readEveryByte(zeros)).toThrow("Got a body that was not sent");
  });

  test.each([8, 9, BODY_BYTES - 1])("throws for one wrong byte at %d", (at) => {
    const body = bodyOf();
    body[at] = FILLER_BYTE + 1;
    expect(() => readEveryByte(body)).toThrow("Got a body that was not sent");
  });
});

describe("readSampleObject()", () => {
  const object = { number: 3, celsius: SAMPLE_CELSIUS, unit: SAMPLE_UNIT };

  test("returns the number", () => {
    expect(readSampleObject(object)).toBe(3);
  });

  test.each([
    { ...object, celsius: 0 },
    { ...object, unit: "F" },
    { ...object, number: "3" },
    {},
    undefined,
    null,
  ])("throws for %p", (other) => {
    expect(() => readSampleObject(other)).toThrow("Got an object that was not sent");
  });
});
