/** `seqbus policy` as people and scripts run it, on files. */

import { describe, expect, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, symlinkSync } from "node:fs";
import { runCli, TemporaryDirectory } from "../support/cli-process.ts";
import { testUnless } from "../support/loud-skip.ts";

const OWN_UID = process.geteuid?.() ?? 0;

const POLICY = `
[[rule]]
id = "root-publishes"
allow = ["publish"]
topics = ["news.>"]
user = "root"
unit = "news.service"

[[rule]]
id = "readers"
allow = ["subscribe"]
topics = ["news.>"]
group = 5000

[[rule]]
id = "not-local"
deny = ["publish"]
topics = ["news.local"]
exe = "/usr/bin/liar"
label = "liar_t"
`;

function policy(args: readonly string[]) {
  return runCli(["policy", ...args]);
}

describe("seqbus policy check", () => {
  test("counts the rules of a policy and its drop-ins", async () => {
    using directory = new TemporaryDirectory();
    const path = directory.write("policy.toml", POLICY);
    mkdirSync(directory.file("policy.d"), { mode: 0o755 });
    const dropIn = POLICY.replaceAll('id = "', 'id = "x-');
    const trial = directory.write("policy.d/x.toml", `mode = "permissive"\n${dropIn}`);

    const result = await policy(["check", path]);

    expect(result).toEqual({
      exitCode: 0,
      stdout: `ok: 6 rules in 2 files\npermissive: ${trial} denies nothing, it only tells\n`,
      stderr: "",
    });
    expect((await policy(["check", path, trial])).stdout).toStartWith("ok: 6 rules in 2 files\n");
    expect((await policy(["check", trial])).stdout).toStartWith("ok: 3 rules in 1 file\n");
  });

  test("ends with 1 and the place of the first fault", async () => {
    using directory = new TemporaryDirectory();
    const path = directory.write("policy.toml", POLICY.replace("topics", "tpoics"));

    const { exitCode, stdout, stderr } = await policy(["check", path]);

    expect(exitCode).toBe(1);
    expect(stdout).toBe("");
    expect(stderr).toStartWith(`seqbus: ${path}:5:1: Unknown key "tpoics", expected one of `);
    expect(stderr.trimEnd()).not.toContain("\n");
  });

  test("tells programs the place in fields", async () => {
    using directory = new TemporaryDirectory();
    const path = directory.write("policy.toml", POLICY.replace('"root"', '"no-such-user"'));

    const { exitCode, stdout } = await policy(["check", "--json", path]);

    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout).error).toEqual({
      code: "CONFIG_POLICY",
      message: `${path}:6:8: Unknown user "no-such-user"`,
      path,
      line: 6,
      column: 8,
    });
  });

  test("tells programs that it is right", async () => {
    using directory = new TemporaryDirectory();
    const path = directory.write("policy.toml", POLICY);

    const { stdout } = await policy(["check", "--json", path]);

    expect(JSON.parse(stdout)).toEqual({ ok: true, files: [{ path, mode: "enforce" }], rules: 3 });
  });

  test("refuses what others may write: file and directory", async () => {
    using directory = new TemporaryDirectory();
    const path = directory.write("policy.toml", POLICY);
    const dropIns = directory.file("policy.d");
    mkdirSync(dropIns);
    chmodSync(dropIns, 0o775);

    expect((await policy(["check", path])).stderr).toContain(
      "policy.d: The directory is writable by group or others (mode 0775), expected 0755 or less",
    );
    chmodSync(dropIns, 0o755);
    chmodSync(path, 0o666);
    expect((await policy(["check", path])).stderr).toContain(
      "policy.toml: The policy file is writable by group or others (mode 0666)",
    );
  });

  testUnless(
    OWN_UID !== 0,
    "only root can give files away",
    "refuses a file of others",
    async () => {
      using directory = new TemporaryDirectory();
      const path = directory.write("policy.toml", POLICY);
      chownSync(path, 12_345, 12_345);

      const { exitCode, stderr } = await policy(["check", path]);

      expect(exitCode).toBe(1);
      expect(stderr).toContain("The policy file belongs to uid 12345, expected root");
    },
  );

  test("follows no symbolic link, for a file or the drop-ins", async () => {
    using directory = new TemporaryDirectory();
    const path = directory.write("policy.toml", POLICY);
    const link = directory.file("link.toml");
    symlinkSync(path, link);

    expect((await policy(["check", link])).stderr).toContain("ELOOP");
    symlinkSync("/etc", directory.file("policy.d"));
    expect((await policy(["check", path])).stderr).toContain("policy.d: Cannot read");
  });
});

describe("seqbus policy explain", () => {
  const path = "policy.toml";

  async function explain(...args: readonly string[]) {
    using directory = new TemporaryDirectory();
    directory.write(path, POLICY);
    return await runCli(["policy", "explain", "--policy", path, ...args], {
      cwd: directory.path,
    });
  }

  test("ends with 0 and the rule that allows", async () => {
    const result = await explain("--user", "root", "--unit", "news.service", "publish", "news.a");

    expect(result).toEqual({
      exitCode: 0,
      stdout:
        'allowed: uid 0 may publish on "news.a"\n' +
        `because: rule "root-publishes" (${path}:2) allows it\n`,
      stderr: "",
    });
  });

  test("ends with 4 and what the nearest rule lacks", async () => {
    const result = await explain("--user", "0", "publish", "news.a");

    expect(result).toEqual({
      exitCode: 4,
      stdout:
        'denied: uid 0 may not publish on "news.a"\n' +
        "because: no rule allows it\n" +
        `nearest: rule "root-publishes" (${path}:2) would allow it, but\n` +
        "  unit: is none, the rule has news.service\n",
      stderr: "",
    });
  });

  test("takes groups by name and number, more than one", async () => {
    const allowed = await explain("-u", "54321", "-g", "root", "-g", "5000", "subscribe", "news.>");
    const denied = await explain("-u", "54321", "-g", "root", "subscribe", "news.>");

    expect(allowed.exitCode).toBe(0);
    expect(denied.exitCode).toBe(4);
    expect(denied.stdout).toContain("  group: is 0, the rule has 5000\n");
  });

  test("takes an unknown number without a group of its own", async () => {
    const { stdout } = await explain("-u", "54321", "subscribe", "news.a");

    expect(stdout).toContain("  group: is none, the rule has 5000\n");
  });

  test("takes executable and label", async () => {
    const who = ["-u", "root", "--unit", "news.service"];
    const liar = ["--exe", "/usr/bin/liar", "--label", "liar_t"];

    const honest = await explain(...who, "publish", "news.local");
    const denied = await explain(...who, ...liar, "publish", "news.local");

    expect(honest.exitCode).toBe(0);
    expect(denied.exitCode).toBe(4);
    expect(denied.stdout).toContain(`because: rule "not-local" (${path}:15) denies it\n`);
  });

  test("tells programs the same in fields", async () => {
    const { exitCode, stdout } = await explain("-u", "root", "--json", "publish", "news.a");

    expect(exitCode).toBe(4);
    expect(JSON.parse(stdout)).toMatchObject({
      verdict: "denied",
      action: "publish",
      topic: "news.a",
      uid: 0,
      nearest: { rule: { id: "root-publishes" }, failed: [{ key: "unit" }] },
    });
  });

  test("ends with 1 for a policy that would be refused", async () => {
    const result = await policy(["explain", "-p", "/nowhere.toml", "-u", "root", "publish", "a"]);

    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain("/nowhere.toml: Cannot read the policy file: ENOENT");
  });

  const usage: readonly (readonly [string, readonly string[], string])[] = [
    ["an unknown user", ["-u", "no-such-user", "publish", "a"], 'Unknown user "no-such-user"'],
    ["an unknown group", ["-u", "0", "-g", "no-group", "publish", "a"], 'Unknown group "no-group"'],
    ["a uid too large", ["-u", "4294967295", "publish", "a"], "must be 0 to 4294967294"],
    ["an unknown action", ["-u", "0", "pubish", "a"], 'Unknown action "pubish", expected one of'],
    ["a pattern to publish on", ["-u", "0", "publish", "a.>"], 'Cannot ask about "a.>"'],
    ["a malformed pattern", ["-u", "0", "subscribe", "a..b"], 'Cannot ask about "a..b"'],
    ["no user", ["publish", "a"], "--user"],
  ];
  for (const [behaviour, args, message] of usage) {
    test(`ends with 2 for ${behaviour}`, async () => {
      const { exitCode, stdout, stderr } = await explain(...args);

      expect(exitCode).toBe(2);
      expect(stdout).toBe("");
      expect(stderr).toContain(message);
    });
  }
});

describe("seqbus policy diff", () => {
  test("lists who gains and loses what, and ends with 0", async () => {
    using directory = new TemporaryDirectory();
    const before = directory.write("old.toml", POLICY);
    const after = directory.write("new.toml", POLICY.replace("group = 5000", "any = true"));

    const result = await policy(["diff", before, after]);
    const back = await policy(["diff", after, before]);

    expect(result).toEqual({
      exitCode: 0,
      stdout: `+ anybody may subscribe to news.>: rule "readers" (${after}:9)\n`,
      stderr: "",
    });
    expect(back.stdout).toBe(
      `- anybody may no longer subscribe to news.>: rule "readers" (${after}:9)\n`,
    );
  });

  test("prints nothing where nothing differs, and an empty list for programs", async () => {
    using directory = new TemporaryDirectory();
    const path = directory.write("policy.toml", POLICY);

    expect((await policy(["diff", path, path])).stdout).toBe("");
    expect(JSON.parse((await policy(["diff", "--json", path, path])).stdout)).toEqual({
      rights: [],
      settings: [],
    });
  });

  test("ends with 1 where one of them would be refused", async () => {
    using directory = new TemporaryDirectory();
    const path = directory.write("policy.toml", POLICY);
    const empty = directory.write("empty.toml", "");

    const { exitCode, stderr } = await policy(["diff", path, empty]);

    expect(exitCode).toBe(1);
    expect(stderr).toBe(`seqbus: ${empty}:1:1: No rule, expected at least one [[rule]]\n`);
  });
});

test("seqbus policy without a command shows them and ends with 2", async () => {
  const { exitCode, stderr } = await policy([]);

  expect(exitCode).toBe(2);
  for (const command of ["check", "explain", "diff"]) expect(stderr).toContain(command);
});
