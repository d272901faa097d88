import { describe, expect, test } from "bun:test";
import {
  loadPolicy,
  type PolicyFileContents,
  type PolicyIo,
  parsePolicy,
} from "../../../../src/broker/policy/policy-file.ts";
import { ACTIONS } from "../../../../src/broker/policy/rules.ts";
import { SyscallError } from "../../../../src/errors.ts";
import { directory, POLICY_PATH, parse, refusalOf } from "./policy-fixture.ts";
import { REFUSALS } from "./refusal-fixture.ts";

const RIGHT = '[[rule]]\nallow = ["publish"]\ntopics = ["a"]\nany = true\n';

describe("parsePolicy() refuses", () => {
  for (const { behaviour, text, line, column, message } of REFUSALS) {
    test(`${behaviour}, at ${line}:${column}`, () => {
      const error = refusalOf(() => parse(text));

      expect(error.message).toBe(`${POLICY_PATH}:${line}:${column}: ${message}`);
      expect(error.path).toBe(POLICY_PATH);
      expect(error.line).toBe(line);
      expect(error.column).toBe(column);
    });
  }
});

describe("parsePolicy()", () => {
  test("returns every field of a rule", () => {
    const policy = parse(`
[[rule]]
id = "all-fields"
allow = ["publish", "send-fds"]
deny = ["subscribe"]
topics = ["sensors.*.raw", "sensors.>"]
user = ["sensord", 4294967294]
uid = [5, "1000-1999"]
group = "media"
unit = "sensord.service"
exe = ["/usr/bin/*"]
label = "*:sensord_t:*"
`);
    const { index, settings, ...source } = policy;

    expect(source).toEqual({
      path: POLICY_PATH,
      files: [{ path: POLICY_PATH, mode: "enforce" }],
      rules: [
        {
          id: "all-fields",
          path: POLICY_PATH,
          line: 2,
          mode: "enforce",
          allow: ["publish", "send-fds"],
          deny: ["subscribe"],
          topics: ["sensors.*.raw", "sensors.>"],
          any: false,
          users: [990, 4_294_967_294],
          userWords: ['"sensord" (990)', "4294967294"],
          uids: [
            { first: 5, last: 5 },
            { first: 1_000, last: 1_999 },
          ],
          groups: [44],
          groupWords: ['"media" (44)'],
          units: ["sensord.service"],
          exes: ["/usr/bin/*"],
          labels: ["*:sensord_t:*"],
        },
      ],
      topicSettings: [],
      limits: { defaults: {}, overrides: [] },
    });
  });

  test("returns every field of settings and limits, names by number", () => {
    const { topicSettings, limits, files } = parse(`mode = "permissive"
${RIGHT}
[[topic]]
topics = ["a.>", "b"]
fds = ["file", "memfd-sealed"]
message-bytes-max = 70000
retain = false
overflow = "latest-per-topic"
fds-denied = "drop"

[limits]
queued-bytes = 0

[[limits.user]]
user = ["sensord", 5]
connections = 1
pending-calls = 2

[[limits.user]]
uid = "1000-1999"
fds = 3
`);

    expect(files).toEqual([{ path: POLICY_PATH, mode: "permissive" }]);
    expect(topicSettings).toEqual([
      {
        path: POLICY_PATH,
        line: 7,
        topics: ["a.>", "b"],
        fds: ["file", "memfd-sealed"],
        messageBytesMax: 70_000,
        retain: false,
        overflow: "latest-per-topic",
        fdsDenied: "drop",
      },
    ]);
    expect(limits.defaults).toEqual({ "queued-bytes": 0 });
    expect(limits.overrides).toEqual([
      {
        path: POLICY_PATH,
        line: 18,
        uids: [
          { first: 990, last: 990 },
          { first: 5, last: 5 },
        ],
        values: { connections: 1, "pending-calls": 2 },
      },
      { path: POLICY_PATH, line: 23, uids: [{ first: 1_000, last: 1_999 }], values: { fds: 3 } },
    ]);
  });

  test("names a rule without id after its path and line", () => {
    const policy = parse(`# comment\n${RIGHT}\n${RIGHT}`);

    expect(policy.rules.map((rule) => rule.id)).toEqual(["policy.toml:2", "policy.toml:7"]);
  });

  test("keeps the order of the file", () => {
    const policy = parse(`${RIGHT}id = "b"\n${RIGHT}id = "a"\n${RIGHT}id = "c"\n`);

    expect(policy.rules.map((rule) => rule.id)).toEqual(["b", "a", "c"]);
  });

  test("takes every action", () => {
    const policy = parse(RIGHT.replace('["publish"]', JSON.stringify(ACTIONS)));

    expect([...(policy.rules[0]?.allow ?? [])]).toEqual([...ACTIONS]);
  });

  test("takes rules written as a list of inline tables", () => {
    const policy = parse('rule = [\n  { deny = ["publish"], topics = [">"], user = 0 },\n]');

    expect(policy.rules[0]?.line).toBe(2);
    expect(policy.rules[0]?.users).toEqual([0]);
  });

  test("takes a number that the user database does not know, without asking it", () => {
    const silent = {
      findUser: () => expect.unreachable("looked a user up"),
      findGroup: () => expect.unreachable("looked a group up"),
    };
    const text = RIGHT.replace("any = true", "user = 54321\ngroup = [54322]");

    const policy = parsePolicy(text, POLICY_PATH, silent);

    expect(policy.rules[0]?.users).toEqual([54_321]);
    expect(policy.rules[0]?.groups).toEqual([54_322]);
    expect(policy.rules[0]?.userWords).toEqual(["54321"]);
    expect(policy.rules[0]?.groupWords).toEqual(["54322"]);
  });

  test("refuses a name that cannot be looked up, and keeps the cause", () => {
    const cause = new SyscallError("Cannot look up: EIO", {
      code: "EIO",
      errno: 5,
      syscall: "getpwnam_r",
    });
    const broken = {
      ...directory,
      findUser(): never {
        throw cause;
      },
    };
    const text = RIGHT.replace("any = true", 'user = "alice"');

    const error = refusalOf(() => parsePolicy(text, POLICY_PATH, broken));

    expect(error.message).toBe('policy.toml:4:8: Cannot look up user "alice": Cannot look up: EIO');
    expect(error.cause).toBe(cause);
  });

  for (const uid of [-1, 4_294_967_295, 0.5, Number.NaN]) {
    test(`refuses a name that the user database gives the number ${uid}`, () => {
      const odd = { ...directory, findUser: () => ({ uid }) };
      const text = RIGHT.replace("any = true", 'user = "odd"');

      const error = refusalOf(() => parsePolicy(text, POLICY_PATH, odd));

      expect(error.message).toBe(
        `policy.toml:4:8: Unusable number of user "odd": got ${uid}, expected 0 to 4294967294`,
      );
    });
  }

  test("cuts a very long value in its message", () => {
    const error = refusalOf(() => parse(`${"k".repeat(5_000)} = 1`));

    expect(error.message.length).toBeLessThan(200);
  });

  test("keeps its message on one line whatever the file holds", () => {
    const error = refusalOf(() => parse(`${RIGHT}"a\\nb\\u0007" = 1`));

    expect(error.message).toBe(
      'policy.toml:5:1: Unknown key "a\\nb\\u0007", expected one of ' +
        "allow, deny, topics, user, uid, group, unit, exe, label, any, id",
    );
  });
});

describe("loadPolicy()", () => {
  const REGULAR = 0o100_000;

  function io(contents: Partial<PolicyFileContents>, ownUid = 0): PolicyIo {
    const readFile = () => ({ text: RIGHT, ownerUid: 0, mode: REGULAR | 0o644, ...contents });
    return { readFile, ownUid, directory };
  }

  test("reads the path it is given and parses what it finds", () => {
    const paths: string[] = [];
    const contents = io({}).readFile(POLICY_PATH);
    const readFile = (path: string) => {
      paths.push(path);
      return contents;
    };

    const policy = loadPolicy("etc/my.toml", { ...io({}), readFile });

    expect(paths).toEqual(["etc/my.toml"]);
    expect(policy.path).toBe("etc/my.toml");
    expect(policy.rules[0]?.id).toBe("etc/my.toml:1");
  });

  test("takes a file of root under any broker, and of the broker's own user", () => {
    expect(loadPolicy(POLICY_PATH, io({ ownerUid: 0 }, 990)).rules).toHaveLength(1);
    expect(loadPolicy(POLICY_PATH, io({ ownerUid: 990 }, 990)).rules).toHaveLength(1);
  });

  test("refuses a file of somebody else", () => {
    const underRoot = refusalOf(() => loadPolicy(POLICY_PATH, io({ ownerUid: 1000 })));
    const underUser = refusalOf(() => loadPolicy(POLICY_PATH, io({ ownerUid: 1000 }, 990)));

    expect(underRoot.message).toBe(
      "policy.toml: The policy file belongs to uid 1000, expected root",
    );
    expect(underUser.message).toBe(
      "policy.toml: The policy file belongs to uid 1000, expected root or uid 990",
    );
    expect(underRoot.line).toBeUndefined();
  });

  for (const permissions of [0o664, 0o646, 0o622, 0o777, 0o020, 0o002]) {
    const words = permissions.toString(8).padStart(4, "0");
    test(`refuses a file with mode ${words}`, () => {
      const error = refusalOf(() => loadPolicy(POLICY_PATH, io({ mode: REGULAR | permissions })));

      expect(error.message).toBe(
        `policy.toml: The policy file is writable by group or others (mode ${words}), ` +
          "expected 0644 or less",
      );
    });
  }

  for (const permissions of [0o644, 0o600, 0o400, 0o755]) {
    test(`takes a file with mode 0${permissions.toString(8)}`, () => {
      const policy = loadPolicy(POLICY_PATH, io({ mode: REGULAR | permissions }));

      expect(policy.rules).toHaveLength(1);
    });
  }

  test("refuses what is not a regular file", () => {
    for (const type of [0o010_000, 0o020_000, 0o040_000, 0o140_000]) {
      const error = refusalOf(() => loadPolicy(POLICY_PATH, io({ mode: type | 0o600 })));

      expect(error.message).toBe("policy.toml: The policy is not a regular file");
    }
  });

  test("does not parse a file that it does not trust", () => {
    const error = refusalOf(() => loadPolicy(POLICY_PATH, io({ text: "?", ownerUid: 1000 })));

    expect(error.message).toContain("belongs to uid 1000");
  });

  test("says why a file cannot be read, and keeps the cause", () => {
    const cause = new Error("no such file");
    const readFile = () => {
      throw cause;
    };

    const error = refusalOf(() => loadPolicy(POLICY_PATH, { ...io({}), readFile }));

    expect(error.message).toBe("policy.toml: Cannot read the policy file: no such file");
    expect(error.path).toBe(POLICY_PATH);
    expect(error.cause).toBe(cause);
  });
});
