import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { findGroup, findUser } from "../../../src/ffi/user-database.ts";
import { testUnless } from "../../support/loud-skip.ts";
import { fdsOpenedSince, openFds } from "./fd-table.ts";
import { SocketDirectory } from "./socket-directory.ts";

/** The lines of /etc/passwd or /etc/group, split at the colons. */
function entries(file: string): string[][] {
  const lines = readFileSync(file, "utf8").split("\n");
  return lines.filter((line) => line.includes(":")).map((line) => line.split(":"));
}

test("findUser() finds root by name and by number", () => {
  expect(findUser("root")).toEqual({ name: "root", uid: 0, gid: 0 });
  expect(findUser(0)).toEqual({ name: "root", uid: 0, gid: 0 });
});

test("findUser() agrees with /etc/passwd on every name", () => {
  const users = entries("/etc/passwd");
  expect(users.length).toBeGreaterThan(0);
  for (const [name = "", , uid, gid] of users) {
    expect(findUser(name)).toEqual({ name, uid: Number(uid), gid: Number(gid) });
  }
});

test("findGroup() agrees with /etc/group on every name and number", () => {
  const groups = entries("/etc/group");
  expect(groups.length).toBeGreaterThan(0);
  for (const [name = "", , gid] of groups) {
    expect(findGroup(name)).toEqual({ name, gid: Number(gid) });
    expect(findGroup(Number(gid))?.gid).toBe(Number(gid));
  }
});

test.each([
  ["a name that nobody has", "no-such-name"],
  ["an empty name", ""],
  ["a name with NUL, whose start is a name", "root\0x"],
  ["a lone surrogate", "\ud800"],
  ["a number in a string", "0"],
  ["a very long name", "x".repeat(100_000)],
  ["a number without entry", 3_999_999_999],
  ["the number that stands for nobody", 0xffff_ffff],
  ["a number beyond 32 bits, whose low half is 0", 2 ** 32],
  ["a negative number", -1],
  ["a broken number", 0.5],
  ["NaN", Number.NaN],
])("findUser() and findGroup() return undefined for %s", (_name, key) => {
  expect(findUser(key)).toBeUndefined();
  expect(findGroup(key)).toBeUndefined();
});

test("findUser() and findGroup() leave no fd open", () => {
  findUser("root");
  findGroup("root");
  const before = openFds();
  for (const key of ["root", 0, "no-such-name", 3_999_999_999]) {
    findUser(key);
    findGroup(key);
  }
  expect(fdsOpenedSince(before)).toEqual([]);
});

const mayMount = Bun.spawnSync(["unshare", "--mount", "true"], { stderr: "ignore" }).success;

testUnless(
  !mayMount,
  "this process may not make a mount namespace, where /etc/group can be replaced",
  "findGroup() finds a group with 100,000 members, larger than its first buffer",
  async () => {
    using directory = new SocketDirectory();
    const members = Array.from({ length: 100_000 }, (_, index) => `member${index}`);
    writeFileSync(directory.file("group"), `huge:x:77777:${members.join(",")}\n`);
    const script = 'mount --bind "$1" /etc/group && shift && exec "$@"';
    const fixture = [process.execPath, `${import.meta.dir}/huge-group-fixture.ts`, "huge", "77777"];
    const shell = ["sh", "-c", script, "sh", directory.file("group"), ...fixture];
    const child = Bun.spawn(["unshare", "--mount", ...shell], { stdin: "ignore" });
    const output = JSON.parse(await child.stdout.text());
    expect(await child.exited).toBe(0);
    expect(output).toEqual([
      { name: "huge", gid: 77_777 },
      { name: "huge", gid: 77_777 },
    ]);
  },
);
