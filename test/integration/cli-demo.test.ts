/** The demo and the examples: the first things that a newcomer runs. */

import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import {
  CliBroker,
  CliProcess,
  processesWith,
  runCli,
  TemporaryDirectory,
} from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";

const IS_ROOT = process.getuid?.() === 0;
const EXAMPLES = join(import.meta.dir, "../../examples");

/** Runs the demo in a temporary directory of its own, and sees that nothing is left. */
async function runDemo(options: { prefix?: string[]; mode?: number } = {}) {
  using directory = new TemporaryDirectory();
  if (options.prefix !== undefined) Bun.spawnSync(["chmod", "777", directory.path]);
  const mark = `SEQBUS_DEMO_TEST=${process.pid}.${Math.random()}`;
  const [name = "", value = ""] = mark.split("=");
  const env = { TMPDIR: directory.path, [name]: value };
  const result = await runCli(["demo"], { env, prefix: options.prefix ?? [] });
  expect(readdirSync(directory.path)).toEqual([]);
  expect(processesWith(mark)).toEqual([]);
  return result;
}

describe("seqbus demo", () => {
  testUnless(!IS_ROOT, "needs root", "runs as several users where root starts it", async () => {
    const { exitCode, stdout, stderr } = await runDemo();
    expect(stderr).toBe("");
    expect(stdout).toContain('open("letter.txt") by itself   EACCES');
    expect(stdout).toContain("refused by rule strangers-open-nothing");
    const senders = [...stdout.matchAll(/from uid (\d+), pid/g)].map(([, uid]) => uid);
    expect(new Set(senders).size).toBe(2);
    expect(stdout).toMatch(/\nok: \d+ checks passed, nothing is left behind\n$/);
    expect(exitCode).toBe(0);
  });

  testUnless(
    !IS_ROOT,
    "needs root for setpriv",
    "runs as an ordinary user, and says so",
    async () => {
      const prefix = ["setpriv", "--reuid=60701", "--regid=60701", "--clear-groups"];
      const { exitCode, stdout, stderr } = await runDemo({ prefix });
      expect(stderr).toBe("");
      expect(stdout).toContain("All run as uid 60701");
      expect(stdout).toMatch(/\nok: \d+ checks passed/);
      expect(exitCode).toBe(0);
    },
  );

  test("leaves nothing behind when it is interrupted", async () => {
    using directory = new TemporaryDirectory();
    await using demo = new CliProcess(["demo"], { env: { TMPDIR: directory.path } });
    await demo.printed("A broker");
    demo.signal("SIGINT");
    const { exitCode } = await demo.result();
    expect([0, 130]).toContain(exitCode);
    await eventually(() => readdirSync(directory.path).length === 0, "the directory is empty");
  });
});

describe("the examples", () => {
  test.each(["sensors.ts", "pass-a-file.ts"])("%s runs against a broker", async (name) => {
    await using broker = await CliBroker.start();
    const command = [process.execPath, join(EXAMPLES, name)];
    const { exitCode, stdout, stderr } = await broker.run([], { command });
    expect(stderr).toBe("");
    expect(stdout).toContain(`uid ${process.getuid?.()}`);
    expect(exitCode).toBe(0);
  });
});
