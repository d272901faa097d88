/** What commands print where they fail, for programs that asked for JSON. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Command } from "commander";
import { buildProgram } from "../../src/cli/program.ts";
import type { ErrorCode } from "../../src/errors.ts";
import { CliBroker, runCli, TemporaryDirectory } from "../support/cli-process.ts";

/** Stands for the path of a policy file that is wrong. */
const WRONG_POLICY = "wrong.toml";

/** Commands that print JSON, with an argument that cannot work on a bus where nobody serves. */
const FAILURES: [words: string[], exitCode: number, code: ErrorCode | "ENOENT"][] = [
  [["pub", "a..b", "x", "--receipt"], 2, "ARGUMENT_TOPIC"],
  [["pub", "a.b", "x", "--retain-for", "long", "--receipt"], 2, "ARGUMENT_OPTION"],
  [["pub", "a.b", "{", "--json", "--receipt"], 2, "ARGUMENT_DATA"],
  [["pub", "a.b", "x", "--clear", "--receipt"], 2, "ARGUMENT_OPTION"],
  [["pub", "a.b", "x", "--file", "/proc/none/x", "--receipt"], 1, "ENOENT"],
  [["sub", "a..b", "--json"], 2, "ARGUMENT_PATTERN"],
  [["sub", "a.b", "--count", "0", "--json"], 2, "ARGUMENT_OPTION"],
  [["sub", "a.b", "--save-fds", "/proc/none/x", "--json"], 1, "ENOENT"],
  [["call", "a..b", "1", "--json"], 2, "ARGUMENT_TOPIC"],
  [["call", "a.b", "{", "--json"], 2, "ARGUMENT_DATA"],
  [["call", "a.b", "x", "--memfd", "/proc/none/x", "--output", "json"], 1, "ENOENT"],
  [["call", "a.b", "1", "--json"], 1, "REJECTED_NO_SERVICE"],
  [["serve", "a..b", "--exec", "cat", "--json"], 2, "ARGUMENT_TOPIC"],
  [["serve", "a.b", "--exec", "cat", "--concurrency", "0", "--json"], 2, "ARGUMENT_OPTION"],
  [["watch", "a..b", "--json"], 2, "ARGUMENT_TOPIC"],
  [["watch", "a.b", "--count", "0", "--json"], 2, "ARGUMENT_OPTION"],
  [["wait", "a..b", "--json"], 2, "ARGUMENT_TOPIC"],
  [["wait", "a.b", "--timeout", "0", "--json"], 2, "ARGUMENT_OPTION"],
  [["channel", "a..b", "--json"], 2, "ARGUMENT_TOPIC"],
  [["channel", "a.b", "--json"], 1, "REJECTED_NO_SERVICE"],
  [["ls", "topics", "a..b", "--json"], 2, "REJECTED_PATTERN"],
  [["ls", "clients", "a.b", "--json"], 2, "ARGUMENT_OPTION"],
  [["stats", "--socket", "", "--json"], 2, "ARGUMENT_SOCKET_PATH"],
  [["whois", "color=red", "--json"], 2, "ARGUMENT_OPTION"],
  [["whois", "999999", "--json"], 1, "ARGUMENT_CLIENT"],
  [["whois", "unit=no.service", "999999", "--json"], 1, "ARGUMENT_CLIENT"],
  [["policy", "check", WRONG_POLICY, "--json"], 1, "CONFIG_POLICY"],
  [["policy", "diff", WRONG_POLICY, "/proc/none/x", "--json"], 1, "CONFIG_POLICY"],
  [
    ["policy", "explain", "publish", "a.b", "-u", "0", "-p", WRONG_POLICY, "--json"],
    1,
    "CONFIG_POLICY",
  ],
  [["policy", "explain", "eat", "a.b", "-u", "0", "--json"], 2, "ARGUMENT_OPTION"],
  [["policy", "explain", "publish", "a..b", "-u", "0", "--json"], 2, "ARGUMENT_TOPIC"],
  [["policy", "reload", "--json"], 5, "CONFIG_POLICY"],
];

/** "pub", "policy check" and so on: all that can print JSON. */
function jsonCommands(command: Command, parents: readonly string[] = []): string[] {
  return command.commands.flatMap((child) => {
    const names = [...parents, child.name()];
    const printsJson = child.options.some(({ long }) => long === "--json");
    return [...(printsJson ? [names.join(" ")] : []), ...jsonCommands(child, names)];
  });
}

describe("with an argument that fails", () => {
  let broker: CliBroker;

  beforeAll(async () => {
    broker = await CliBroker.start();
    broker.directory.write(WRONG_POLICY, "[[rule]]\n");
  });

  afterAll(async () => {
    await broker[Symbol.asyncDispose]();
  });

  test.each(FAILURES)("%j ends with %d and says %s, once as JSON", async (args, code, name) => {
    const wrong = broker.directory.file(WRONG_POLICY);
    const { exitCode, stdout, stderr } = await broker.run(
      args.map((word) => (word === WRONG_POLICY ? wrong : word)),
    );
    const [line = "", ...others] = stdout.split("\n");
    expect(others).toEqual([""]);
    const answer = JSON.parse(line);
    expect(Object.keys(answer)).toEqual(["error"]);
    expect(answer.error.code).toBe(name);
    expect(stderr).toBe(`seqbus: ${answer.error.message}\n`);
    expect(exitCode).toBe(code);
  });

  test("is tried with every command that can print JSON", () => {
    const tried = new Set(
      FAILURES.map(([[name, next]]) => (name === "policy" ? `policy ${next}` : name)),
    );
    expect([...tried].sort()).toEqual(jsonCommands(buildProgram(() => {})).sort());
  });

  test("ends with no exit code that --help does not name", async () => {
    const { stdout } = await runCli(["--help"]);
    const codes = new Set(FAILURES.map(([, exitCode]) => exitCode));
    for (const code of codes) expect(stdout).toMatch(new RegExp(`^ {2}${code} {2}`, "m"));
  });

  test("seqbus whois --json prints those that are there before it says who is not", async () => {
    const words = ["whois", `uid=${process.getuid?.()}`, "7777777", "8888888", "--json"];
    await using subscriber = await broker.subscribe(["a.b"]);
    const { exitCode, stdout } = await broker.run(words);
    const lines = stdout.trimEnd().split("\n");
    const { error } = JSON.parse(lines.pop() ?? "");
    expect(lines.map((line) => JSON.parse(line).pid)).toContain(subscriber.pid);
    expect(error.message).toStartWith("Cannot show 7777777, 8888888: ");
    expect(exitCode).toBe(1);
  });
});

describe("without a broker", () => {
  test.each([
    [["call", "a.b", "x", "--output", "json"]],
    [["call", "a.b", "1", "--json"]],
    [["pub", "a.b", "x", "--receipt"]],
    [["pub", "a.b", "--clear", "--receipt"]],
    [["sub", "a.b", "--json"]],
    [["serve", "a.b", "--exec", "cat", "--json"]],
    [["watch", "a.b", "--json"]],
    [["channel", "a.b", "--json"]],
    [["ls", "--json"]],
    [["stats", "--json"]],
    [["whois", "uid=0", "--json"]],
    [["policy", "reload", "--json"]],
    [["policy", "explain", "publish", "a.b", "--user", "0", "--json"]],
  ])("%j says so as JSON", async (words) => {
    using directory = new TemporaryDirectory();
    const path = directory.file("bus.sock");
    const { exitCode, stdout, stderr } = await runCli([...words, "--socket", path]);
    expect(exitCode).toBe(3);
    const { error } = JSON.parse(stdout);
    expect(error.code).toBe("ENOENT");
    expect(stderr).toBe(`seqbus: ${error.message}\n`);
  });

  test.each([
    [["call", "a.b", "1", "--json", "--output", "human"]],
    [["pub", "a.b", "1", "--json"]],
    [["stats"]],
  ])("%j prints nothing but the line for people", async (words) => {
    using directory = new TemporaryDirectory();
    const result = await runCli([...words, "--socket", directory.file("bus.sock")]);
    expect([result.exitCode, result.stdout]).toEqual([3, ""]);
  });
});

describe("seqbus pub", () => {
  test("--receipt has what became of it in the error, where it is refused", async () => {
    const policy = `
[[rule]]
id = "others"
deny = ["publish"]
topics = [">"]
any = true
`;
    await using broker = await CliBroker.start(policy);
    const { exitCode, stdout } = await broker.run(["pub", "a.b", "x", "--receipt"]);
    expect(exitCode).toBe(4);
    const { error } = JSON.parse(stdout);
    expect(error).toMatchObject({ code: "REJECTED_BY_POLICY", receipt: { denied: 1 } });
  });
});

describe("--json", () => {
  test.each([
    ["call", "--output json"],
    ["pub", "--receipt"],
  ])(
    "of %s refuses DATA that is not JSON, and names what prints JSON: %s",
    async (command, hint) => {
      const { exitCode, stderr } = await runCli([command, "a.b", "plain", "--json"]);
      expect(exitCode).toBe(2);
      expect(stderr).toContain("it is not JSON");
      expect(stderr).toContain(`for JSON as output alone use ${hint}`);
    },
  );
});
