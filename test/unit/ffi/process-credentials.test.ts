import { expect, test } from "bun:test";
import { ArgumentError } from "../../../src/errors.ts";
import { dropPrivileges } from "../../../src/ffi/process-credentials.ts";
import { testUnless } from "../../support/loud-skip.ts";
import { runFixture } from "./fixture-process.ts";

const notRoot = process.getuid?.() !== 0;

testUnless(
  notRoot,
  "only root has privileges to drop",
  "dropPrivileges() changes all ids and groups of all threads, for good",
  async () => {
    const { output } = await runFixture("drop-privileges-fixture.ts");
    const { threads, ids, regain, file } = output as Record<string, unknown>;
    expect(threads).toBeGreaterThan(1);
    expect(ids).toEqual([
      "Uid: 12345 12345 12345 12345",
      "Gid: 23456 23456 23456 23456",
      "Groups: 7 9",
    ]);
    expect(regain).toBe("EPERM");
    expect(file).toBe("EACCES");
  },
);

const NO_IDS = [-1, 1.5, Number.NaN, 2 ** 32 - 1, 2 ** 32, undefined, "0"];

test.each(NO_IDS)("dropPrivileges() refuses %p as id, before it changes anything", (value) => {
  const id = value as number;
  const before = [process.getuid?.(), process.getgid?.(), process.getgroups?.()];
  for (const target of [
    { uid: id, gid: 1, groups: [] },
    { uid: 1, gid: id, groups: [] },
    { uid: 1, gid: 1, groups: [1, id] },
  ]) {
    expect(() => dropPrivileges(target)).toThrow(ArgumentError);
  }
  expect([process.getuid?.(), process.getgid?.(), process.getgroups?.()]).toEqual(before);
});
