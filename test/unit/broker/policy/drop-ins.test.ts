/** Policies of more than one file. */

import { describe, expect, test } from "bun:test";
import {
  loadPolicy,
  type PolicyDirectoryContents,
  type PolicyIo,
} from "../../../../src/broker/policy/policy-file.ts";
import { filesOf, refusalOf } from "./policy-fixture.ts";

function rule(id: string): string {
  return `[[rule]]\nid = "${id}"\nallow = ["publish"]\ntopics = ["a"]\nany = true\n`;
}

describe("loadPolicy() with policy.d", () => {
  test("reads *.toml of it after the main file, sorted by name", () => {
    const policy = loadPolicy(
      "/etc/seqbus/policy.toml",
      filesOf({
        "/etc/seqbus/policy.d/b.toml": rule("b"),
        "/etc/seqbus/policy.d/B.toml": rule("B"),
        "/etc/seqbus/policy.toml": rule("main"),
        "/etc/seqbus/policy.d/10-a.toml": rule("a"),
      }),
    );

    expect(policy.rules.map(({ id }) => id)).toEqual(["main", "a", "B", "b"]);
    expect(policy.files.map(({ path }) => path)).toEqual([
      "/etc/seqbus/policy.toml",
      "/etc/seqbus/policy.d/10-a.toml",
      "/etc/seqbus/policy.d/B.toml",
      "/etc/seqbus/policy.d/b.toml",
    ]);
    expect(policy.path).toBe("/etc/seqbus/policy.toml");
  });

  test("leaves other files alone", () => {
    const policy = loadPolicy(
      "policy.toml",
      filesOf({
        "policy.toml": rule("main"),
        "policy.d/README": "?",
        "policy.d/x.toml~": "?",
        "policy.d/.hidden.toml": "?",
        "policy.d/.toml": "?",
        "policy.d/x.toml.rpmsave": "?",
      }),
    );

    expect(policy.files).toHaveLength(1);
  });

  test("does without the directory", () => {
    expect(loadPolicy("policy.toml", filesOf({ "policy.toml": rule("main") })).rules).toHaveLength(
      1,
    );
  });

  test("takes a main file without rules if a drop-in has one", () => {
    const files = { "policy.toml": "[limits]\nfds = 1\n", "policy.d/a.toml": rule("a") };

    expect(loadPolicy("policy.toml", filesOf(files)).rules).toHaveLength(1);
  });

  test("refuses a policy without rules in any file", () => {
    const files = { "policy.toml": "[limits]\nfds = 1\n" };

    expect(refusalOf(() => loadPolicy("policy.toml", filesOf(files))).message).toBe(
      "policy.toml:1:1: No rule, expected at least one [[rule]]",
    );
  });

  test("refuses an empty drop-in", () => {
    const files = { "policy.toml": rule("main"), "policy.d/a.toml": "# later\n" };

    expect(refusalOf(() => loadPolicy("policy.toml", filesOf(files))).message).toBe(
      "policy.d/a.toml:1:1: No rule, expected at least one [[rule]]",
    );
  });

  test("refuses an id that another file has", () => {
    const files = { "policy.toml": rule("x"), "policy.d/a.toml": `\n${rule("x")}` };

    expect(refusalOf(() => loadPolicy("policy.toml", filesOf(files))).message).toBe(
      'policy.d/a.toml:3:6: Rule id "x" is taken by the rule at policy.toml:1, expected a new one',
    );
  });

  test("refuses a limit and a topic setting that another file has", () => {
    const main = `${rule("x")}[limits]\nfds = 1\n[[topic]]\ntopics = ["t"]\nretain = true\n`;
    const limit = { "policy.toml": main, "policy.d/a.toml": "[limits]\nfds = 1\n" };
    const topic = {
      "policy.toml": main,
      "policy.d/a.toml": '[[topic]]\ntopics = ["t"]\nfds = ["file"]',
    };

    expect(refusalOf(() => loadPolicy("policy.toml", filesOf(limit))).message).toBe(
      'policy.d/a.toml:2:1: "fds" is set at policy.toml:7 already',
    );
    expect(refusalOf(() => loadPolicy("policy.toml", filesOf(topic))).message).toBe(
      'policy.d/a.toml:2:11: Topics "t" have their settings at policy.toml:8 already',
    );
  });

  test("names the drop-in that is wrong", () => {
    const files = { "policy.toml": rule("main"), "policy.d/a.toml": "[[rule]]\nx = 1\n" };

    const error = refusalOf(() => loadPolicy("policy.toml", filesOf(files)));

    expect(error.path).toBe("policy.d/a.toml");
    expect(error.line).toBe(2);
  });
});

describe("loadPolicy() with a directory that is not to be trusted", () => {
  const cases: readonly (readonly [string, Partial<PolicyDirectoryContents>, string])[] = [
    ["of somebody else", { ownerUid: 1_000 }, "The directory belongs to uid 1000, expected root"],
    [
      "that others may write",
      { mode: 0o040_777 },
      "The directory is writable by group or others (mode 0777), expected 0755 or less",
    ],
    ["that is a file", { mode: 0o100_644 }, "The place of drop-ins is not a directory"],
    [
      "of too many files",
      { names: Array.from({ length: 1_001 }, (_, at) => `${at}.toml`) },
      "There are 1001 drop-ins, expected 1000 at most",
    ],
  ];
  for (const [behaviour, contents, message] of cases) {
    test(`refuses one ${behaviour}`, () => {
      const directory = { names: ["a.toml"], ownerUid: 0, mode: 0o040_755, ...contents };
      const io: PolicyIo = {
        ...filesOf({ "policy.toml": rule("main") }),
        readDirectory: () => directory,
      };

      expect(refusalOf(() => loadPolicy("policy.toml", io)).message).toBe(`policy.d: ${message}`);
    });
  }

  test("says why it cannot be read", () => {
    const io: PolicyIo = {
      ...filesOf({ "policy.toml": rule("main") }),
      readDirectory() {
        throw new Error("EACCES");
      },
    };

    expect(refusalOf(() => loadPolicy("policy.toml", io)).message).toContain(
      "policy.d: Cannot read",
    );
  });
});

describe("loadPolicy() with several paths", () => {
  test("takes these files in their order, and no drop-ins", () => {
    const io = filesOf({
      "policy.toml": rule("main"),
      "policy.d/a.toml": rule("a"),
      "other.toml": rule("other"),
    });

    const policy = loadPolicy(["other.toml", "policy.toml"], io);

    expect(policy.rules.map(({ id }) => id)).toEqual(["other", "main"]);
    expect(policy.path).toBe("other.toml");
  });
});
