import { describe, expect, test } from "bun:test";
import { IdSequence } from "../../../src/broker/id-sequence.ts";

const ID_MAX = 0xffff_ffff;

describe("IdSequence.next()", () => {
  test("counts from 1", () => {
    const ids = new IdSequence();
    expect([ids.next(() => false), ids.next(() => false)]).toEqual([1, 2]);
  });

  test("starts again at 1 behind the last number, and leaves out those in use", () => {
    const ids = new IdSequence(ID_MAX - 1);
    const taken = new Set([1, 2]);
    expect(ids.next((id) => taken.has(id))).toBe(ID_MAX);
    expect(ids.next((id) => taken.has(id))).toBe(3);
    expect(ids.next((id) => taken.has(id))).toBe(4);
  });
});
