/** What the seqbus command says about itself, and how it refuses what it does not understand. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { VERSION } from "../../src/version.ts";
import { runCli, TemporaryDirectory } from "../support/cli-process.ts";

const MAIN = join(import.meta.dir, "../../src/cli/main.ts");
const COMMANDS = ["broker", "pub", "sub", "demo"];

describe("seqbus", () => {
  test("prints its version", async () => {
    const { exitCode, stdout } = await runCli(["--version"]);
    expect([exitCode, stdout]).toEqual([0, `${VERSION}\n`]);
  });

  test("prints every command and every exit code as help", async () => {
    const { exitCode, stdout, stderr } = await runCli(["--help"]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command} `, "m"));
    for (const code of [0, 1, 2, 3, 4, 5, 70]) {
      expect(stdout).toMatch(new RegExp(`^  ${code}  +\\S`, "m"));
    }
    expect(stdout).not.toContain("demo-actor");
    expect(stdout).toContain("/run/seqbus/bus.sock");
  });

  test.each(COMMANDS)("%s --help prints its own help", async (command) => {
    const { exitCode, stdout, stderr } = await runCli([command, "--help"]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(stdout).toStartWith(`Usage: seqbus ${command}`);
  });

  test("without a command prints its help on stderr and exits 2", async () => {
    const { exitCode, stdout, stderr } = await runCli([]);
    expect([exitCode, stdout]).toEqual([2, ""]);
    expect(stderr).toStartWith("Usage: seqbus");
  });

  test.each([
    ["an unknown command", ["nope"], "unknown command 'nope'"],
    ["an unknown option", ["pub", "--nope"], "unknown option '--nope'"],
    ["a missing topic", ["pub"], "missing required argument 'topic'"],
    ["a missing pattern", ["sub"], "missing required argument 'pattern'"],
    ["a missing option value", ["broker", "--socket"], "argument missing"],
    ["an argument too many", ["pub", "a", "b", "c"], "too many arguments"],
    ["two encodings", ["pub", "a", "--json", "--bytes"], "cannot be used with option"],
    ["a count of 0", ["sub", "a", "--count", "0"], "--count must be"],
    ["a count of words", ["sub", "a", "--count", "1e3"], "--count must be"],
    ["a mode of words", ["broker", "--socket", "/nowhere/a", "--mode", "rw"], "octal"],
    ["a mode of 8", ["broker", "--socket", "/nowhere/a", "--mode", "688"], "octal"],
  ])("exits 2 for %s, in one line", async (_what, words, said) => {
    const { exitCode, stdout, stderr } = await runCli(words);
    expect([exitCode, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^seqbus: .+\n$/);
    expect(stderr).toContain(said);
  });

  test.each([
    ["win32", "x64", "Cannot run on win32"],
    ["linux", "riscv64", "Cannot run on riscv64"],
  ])("says on %s %s in one line that it cannot run there", async (platform, arch, said) => {
    using directory = new TemporaryDirectory();
    const fake = directory.write(
      "fake.ts",
      `for (const [key, value] of Object.entries({ platform: "${platform}", arch: "${arch}" })) {
         Object.defineProperty(process, key, { value });
       }`,
    );
    const command = [process.execPath, "--preload", fake, MAIN];
    const { exitCode, stderr } = await runCli(["sub", "a"], { command });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(new RegExp(`^seqbus: ${said}.*\n$`));
  });

  test("starts pub without the modules of the broker", async () => {
    using directory = new TemporaryDirectory();
    const spy = directory.write(
      "spy.ts",
      `import { plugin } from "bun";
       plugin({ name: "spy", setup(build) {
         build.onLoad({ filter: /src\\/broker|valibot|toml-eslint-parser/ }, ({ path }) => {
           throw new Error("loaded " + path);
         });
       } });`,
    );
    const command = [process.execPath, "--preload", spy, MAIN];
    const env = { SEQBUS_SOCKET: directory.file("nobody.sock") };
    const pub = await runCli(["pub", "a", "b"], { command, env });
    expect(pub.stderr).toContain("no broker listens there");
    const broker = await runCli(["broker"], { command, env });
    expect(broker.stderr).toContain("loaded ");
  });
});
