import { expect, test } from "bun:test";
import { constants as fileConstants } from "node:fs";
import { constants as systemConstants } from "node:os";
import * as kernel from "../../../src/ffi/constants.ts";

/** All exported numbers whose names match, by name. */
function numbersNamed(pattern: RegExp): [string, number][] {
  return Object.entries(kernel).filter(([name]) => pattern.test(name));
}

test("every errno has the number that this platform gives it", () => {
  const known: Record<string, number> = systemConstants.errno;
  const errnos = numbersNamed(/^E(?!POLL)[A-Z]+$/);
  expect(errnos.length).toBeGreaterThan(40);
  const wrong = errnos.filter(([name, value]) => name in known && known[name] !== value);
  expect(wrong).toEqual([]);
});

test("every open flag has the number that this platform gives it", () => {
  const known: Record<string, unknown> = { ...fileConstants };
  const shared = numbersNamed(/^O_/).filter(([name]) => name in known);
  expect(shared.map(([name]) => name)).toContain("O_NOFOLLOW");
  expect(shared.filter(([name, value]) => known[name] !== value)).toEqual([]);
});

test("flags of one call do not overlap", () => {
  for (const pattern of [/^MSG_/, /^F_SEAL_/, /^EPOLL(IN|OUT|ERR|HUP|RDHUP|ET)$/, /^MFD_/]) {
    const flags = numbersNamed(pattern);
    const sum = flags.reduce((total, [, value]) => total + value, 0);
    const union = flags.reduce((all, [, value]) => (all | value) >>> 0, 0);
    expect(flags.length).toBeGreaterThan(2);
    expect(union).toBe(sum);
  }
});
