/** Random control bodies for property tests. Not for messages. */

import fc from "fast-check";
import type { ControlMap, ControlValue } from "../../../src/protocol/control-body.ts";
import { CONTROL_BODY_DEPTH_MAX } from "../../../src/protocol/limits.ts";

/** Integers of every encoded width, with the edges of each. */
export const controlInteger: fc.Arbitrary<number> = fc.oneof(
  fc.maxSafeInteger(),
  fc.integer({ min: -200, max: 300 }),
  fc
    .tuple(fc.constantFrom(5, 7, 8, 15, 16, 31, 32, 52, 53), fc.integer({ min: -2, max: 2 }))
    .chain(([bits, delta]) => fc.constantFrom(2 ** bits + delta, -(2 ** bits) + delta))
    .filter(Number.isSafeInteger),
);

/** Strings of every head width that fits a test, beyond ASCII too. */
export const controlString: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 40 }),
  fc.constantFrom("", "__proto__", "constructor", "\ufefftopic", "a".repeat(31), "a".repeat(32)),
  fc.constantFrom("ü".repeat(127), "a".repeat(255), "a".repeat(256), "a".repeat(65_536)),
);

/** Maps that nest up to the depth limit. */
export const controlMap: fc.Arbitrary<ControlMap> = mapOfDepth(1);

function mapOfDepth(depth: number): fc.Arbitrary<ControlMap> {
  return fc
    .array(fc.tuple(controlString, valueOfDepth(depth + 1)), { maxLength: 4 })
    .map(mapFromEntries);
}

function valueOfDepth(depth: number): fc.Arbitrary<ControlValue> {
  const scalar = fc.oneof(fc.constant(null), fc.boolean(), controlInteger, controlString);
  if (depth > CONTROL_BODY_DEPTH_MAX) return scalar;
  const list = fc.array(valueOfDepth(depth + 1), { maxLength: 4 });
  return fc.oneof({ weight: 3, arbitrary: scalar }, list, mapOfDepth(depth));
}

/** Object.fromEntries() would do, but for the key `__proto__` and the null prototype. */
export function mapFromEntries(entries: readonly (readonly [string, ControlValue])[]): ControlMap {
  const map: ControlMap = Object.create(null);
  for (const [key, value] of entries) map[key] = value;
  return map;
}
