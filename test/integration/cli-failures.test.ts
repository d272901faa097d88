/** What commands print where they fail, for programs that asked for JSON. */

import { describe, expect, test } from "bun:test";
import { CliBroker, runCli, TemporaryDirectory } from "../support/cli-process.ts";

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
