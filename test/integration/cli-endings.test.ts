/** How the commands end, or go on, when what is around them is stuck, broken or gone. */

import { describe, expect, test } from "bun:test";
import { closeSync, cpSync, openSync, readdirSync, readSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { connect } from "../../src/client/index.ts";
import {
  CliBroker,
  CliProcess,
  processesWith,
  runCli,
  SEQBUS,
  TemporaryDirectory,
} from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";

const IS_ROOT = process.getuid?.() === 0;
const UID = process.getuid?.();
const ROOT = join(import.meta.dir, "../..");

/**
 * Runs a command with a full terminal as its standard error. The command itself holds the other end
 * of that terminal, so nobody ever reads it.
 */
const ON_STUCK_TERMINAL = `
import os, pty, sys
reader, terminal = pty.openpty()
os.set_inheritable(reader, True)
os.set_blocking(terminal, False)
try:
    while True: os.write(terminal, b"x" * 64)
except BlockingIOError:
    os.set_blocking(terminal, True)
os.dup2(terminal, 2)
os.execv(sys.argv[1], sys.argv[1:])
`;

/** Everything is allowed, directories in messages too. */
const WITH_DIRECTORIES = `
[[rule]]
id = "all-open"
allow = ["publish", "subscribe", "send-fds", "receive-fds"]
topics = [">"]
any = true

[[topic]]
topics = [">"]
fds = ["directory"]
`;

describe("seqbus broker", () => {
  testUnless(
    Bun.which("python3") === null,
    "python3 is not installed",
    "goes on when its log is a terminal that nobody reads",
    async () => {
      const prefix = ["python3", "-c", ON_STUCK_TERMINAL];
      // The first line of its log says that it has no policy.
      await using broker = await CliBroker.start(undefined, { prefix });
      await using bus = await connect({ path: broker.socket });
      bus.publish("a", "x");
      expect(await bus.flush()).toMatchObject({ published: 1 });
      broker.process.signal("SIGTERM");
      expect((await broker.process.result()).exitCode).toBe(0);
    },
  );

  test("starts and serves with standard output and standard error closed", async () => {
    using directory = new TemporaryDirectory();
    const path = directory.file("bus.sock");
    const words = ["broker", "--socket", path, "--verbose"];
    const prefix = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh"];
    await using broker = new CliProcess(words, { prefix });
    await using bus = await eventually(
      () => connect({ path }).catch(() => undefined),
      "the broker serves",
    );
    bus.publish("a", "x");
    expect(await bus.flush()).toMatchObject({ published: 1 });
    broker.signal("SIGTERM");
    expect((await broker.result()).exitCode).toBe(0);
  });

  test("tells in one line about a policy that is a directory, missing or a link", async () => {
    using directory = new TemporaryDirectory();
    const socket = directory.file("bus.sock");
    Bun.spawnSync(["ln", "-s", "/etc/passwd", directory.file("link")]);
    for (const policy of [directory.path, directory.file("missing"), directory.file("link")]) {
      const words = ["broker", "--socket", socket, "--policy", policy];
      const { exitCode, stderr } = await runCli(words);
      expect(exitCode).toBe(5);
      expect(stderr).toMatch(/^seqbus: [^\n]+\n$/);
      expect(stderr).toStartWith(`seqbus: ${policy}: `);
    }
  });
});

describe("seqbus sub", () => {
  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const)("ends on %s with %i", async (signal, exitCode) => {
    await using broker = await CliBroker.start();
    await using sub = await broker.subscribe(["a"]);
    sub.signal(signal);
    expect(await sub.result()).toMatchObject({ exitCode, stdout: "" });
  });

  test("ends on Ctrl-C while a received pipe says nothing", async () => {
    await using broker = await CliBroker.start();
    using directory = new TemporaryDirectory();
    const fifo = directory.file("fifo");
    Bun.spawnSync(["mkfifo", fifo]);
    const fd = openSync(fifo, "r+");
    await using sub = await broker.subscribe(["a", "--cat-fds"]);
    await using bus = await connect({ path: broker.socket });
    bus.publish("a", "silent", { fds: [fd] });
    await sub.printed("silent  [1 file]\n");
    sub.signal("SIGINT");
    expect(await sub.result()).toMatchObject({ exitCode: 130 });
    closeSync(fd);
  });

  test("reads a file from its start, whoever has read it before", async () => {
    await using broker = await CliBroker.start();
    using directory = new TemporaryDirectory();
    // More than one piece, and a length that base64 has to pad.
    const text = `${"0123456789".repeat(10_000)}end.`;
    const file = directory.write("large.txt", text);
    await using first = await broker.subscribe(["a", "--cat-fds", "--count", "1"]);
    await using second = await broker.subscribe(["a", "--cat-fds", "--json", "--count", "1"]);
    await using bus = await connect({ path: broker.socket });
    const fd = openSync(file, "r");
    readSync(fd, new Uint8Array(1_000));
    bus.publish("a", "x", { fds: [fd] });
    closeSync(fd);
    expect((await first.result()).stdout).toEndWith(`  x  [1 file]\n${text}\n`);
    const { fds } = JSON.parse((await second.result()).stdout);
    const bytesBase64 = Buffer.from(text).toString("base64");
    expect(fds).toEqual([{ kind: "file-read-only", bytes: text.length, bytesBase64 }]);
  });

  test("goes on after a received file that cannot be read", async () => {
    await using broker = await CliBroker.start(WITH_DIRECTORIES);
    await using human = await broker.subscribe(["a", "--cat-fds", "--count", "2"]);
    await using json = await broker.subscribe(["a", "--cat-fds", "--json", "--count", "2"]);
    await broker.run(["pub", "a", "directory", "--file", "/"]);
    await broker.run(["pub", "a", "next"]);
    const shown = await human.result();
    expect(shown.exitCode).toBe(0);
    expect(shown.stdout).toContain("  next\n");
    expect(shown.stderr).toContain("seqbus: Cannot read received file: EISDIR\n");
    const [first = "", second = ""] = (await json.result()).stdout.split("\n");
    expect(JSON.parse(first).fds).toEqual([
      { kind: "directory", bytesBase64: "", error: expect.stringContaining("EISDIR") },
    ]);
    expect(JSON.parse(second)).toMatchObject({ data: "next", fds: [] });
  });
});

/** Waits until the demo has a broker. @returns its pid */
async function brokerOf(demo: CliProcess): Promise<number> {
  await demo.printed("A broker (pid ");
  return Number(/A broker \(pid (\d+)\)/.exec(demo.stdout)?.[1]);
}

describe("seqbus demo", () => {
  test("tells what failed, ends with 1 and leaves nothing when its broker dies", async () => {
    using directory = new TemporaryDirectory();
    const mark = `MARK${process.pid}`;
    await using demo = new CliProcess(["demo"], { env: { TMPDIR: directory.path, MARK: mark } });
    process.kill(await brokerOf(demo), "SIGKILL");
    const { exitCode, stdout, stderr } = await demo.result();
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^seqbus: The demo failed: [^\n]+\n$/);
    expect(stdout).not.toContain("\nok:");
    expect(readdirSync(directory.path)).toEqual([]);
    expect(processesWith(`MARK=${mark}`)).toEqual([]);
  });

  test("ends with 130 on Ctrl-C and leaves nothing, though a process of it hangs", async () => {
    using directory = new TemporaryDirectory();
    const mark = `MARK${process.pid}`;
    await using demo = new CliProcess(["demo"], { env: { TMPDIR: directory.path, MARK: mark } });
    process.kill(await brokerOf(demo), "SIGSTOP");
    demo.signal("SIGINT");
    expect(await demo.result()).toMatchObject({ exitCode: 130, stderr: "" });
    expect(readdirSync(directory.path)).toEqual([]);
    expect(processesWith(`MARK=${mark}`)).toEqual([]);
  });

  testUnless(
    !IS_ROOT,
    "needs root",
    "runs where its other users can read neither the checkout nor TMPDIR",
    async () => {
      // mkdtemp(3) gives mode 0700 to both.
      using checkout = new TemporaryDirectory();
      using temporary = new TemporaryDirectory();
      cpSync(join(ROOT, "src"), checkout.file("src"), { recursive: true });
      symlinkSync(join(ROOT, "node_modules"), checkout.file("node_modules"));
      const command = [...SEQBUS.slice(0, -1), checkout.file("src/cli/main.ts")];
      const env = { TMPDIR: temporary.path };
      const { exitCode, stdout, stderr } = await runCli(["demo"], { command, env });
      expect(stderr).toBe("");
      expect(stdout).toContain("EACCES");
      expect(stdout).not.toContain(`from uid ${UID},`);
      expect(exitCode).toBe(0);
      expect(readdirSync(temporary.path)).toEqual([]);
    },
  );
});
