/** `seqbus broker`: what it says when it starts, cannot start, and ends. */

import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
  statSync,
  writeSync,
} from "node:fs";
import { SYSTEM_SOCKET_PATH } from "../../src/bus-address.ts";
import { connect } from "../../src/client/index.ts";
import { CliBroker, CliProcess, runCli, TemporaryDirectory } from "../support/cli-process.ts";
import { testUnless } from "../support/loud-skip.ts";

const IS_ROOT = process.getuid?.() === 0;
const AS_USER = ["setpriv", "--reuid=60701", "--regid=60701", "--clear-groups"];

/** Runs a broker that must not start. @returns its one line of complaint and its exit code */
async function failedStart(...words: string[]): Promise<{ exitCode: number; stderr: string }> {
  const { exitCode, stdout, stderr } = await runCli(["broker", ...words]);
  expect(stdout).toBe("");
  expect(stderr).toMatch(/^seqbus: .*\n$/);
  return { exitCode, stderr };
}

/** The environment that a process was started with. */
function environmentOf(pid: number): string[] {
  return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
}

describe("seqbus broker", () => {
  test("serves its own user where it has no policy, and says so", async () => {
    await using broker = await CliBroker.start();
    await broker.process.logged("no --policy: everything is allowed to uid");
    expect(statSync(broker.socket).mode & 0o777).toBe(0o600);
    await using bus = await connect({ path: broker.socket });
    expect(bus.self.uid).toBe(process.geteuid?.() ?? -1);
  });

  test.each(["SIGTERM", "SIGINT"] as const)(
    "ends with 0 on %s and removes its socket",
    async (signal) => {
      await using broker = await CliBroker.start();
      broker.process.signal(signal);
      expect((await broker.process.result()).exitCode).toBe(0);
      expect(existsSync(broker.socket)).toBe(false);
    },
  );

  test("sets the mode that --mode says", async () => {
    using directory = new TemporaryDirectory();
    const socket = directory.file("bus.sock");
    await using broker = new CliProcess(["broker", "--socket", socket, "--mode", "660"]);
    await broker.printed("listening on");
    expect(statSync(socket).mode & 0o777).toBe(0o660);
  });

  test("sets what the engine reads when it starts, in the process that was started", async () => {
    await using broker = await CliBroker.start();
    expect(environmentOf(broker.process.pid)).toContain("BUN_JSC_numberOfGCMarkers=1");
  });

  test("leaves a setting of the engine as its user has it", async () => {
    using directory = new TemporaryDirectory();
    const env = { BUN_JSC_numberOfGCMarkers: "2" };
    const words = ["broker", "--socket", directory.file("bus.sock")];
    await using broker = new CliProcess(words, { env });
    await broker.printed("listening on");
    const isIt = (line: string) => line.startsWith("BUN_JSC_numberOfGCMarkers=");
    expect(environmentOf(broker.pid).filter(isIt)).toEqual(["BUN_JSC_numberOfGCMarkers=2"]);
  });

  test.each([
    ["without a path", false],
    ["with its path, as clients that miss it suggest", true],
  ])("makes the directory of the user's bus %s", async (_how, isNamed) => {
    using runtime = new TemporaryDirectory();
    const prefix = IS_ROOT ? AS_USER : [];
    if (IS_ROOT) chownSync(runtime.path, 60_701, 60_701);
    const env = { XDG_RUNTIME_DIR: runtime.path };
    const path = `${runtime.path}/seqbus/bus.sock`;
    const words = isNamed ? ["broker", "--socket", path] : ["broker"];
    await using broker = new CliProcess(words, { env, prefix });
    await broker.printed(`listening on ${path}\n`);
    expect(statSync(`${runtime.path}/seqbus`).mode & 0o777).toBe(0o700);
  });

  testUnless(
    existsSync(SYSTEM_SOCKET_PATH),
    "needs a machine without a system bus",
    "is missed by clients where it would listen",
    async () => {
      using runtime = new TemporaryDirectory();
      const prefix = IS_ROOT ? AS_USER : [];
      if (IS_ROOT) chownSync(runtime.path, 60_701, 60_701);
      const env = { XDG_RUNTIME_DIR: runtime.path };
      const { exitCode, stderr } = await runCli(["pub", "a", "b"], { env, prefix });
      expect(stderr).toContain(`Start one: seqbus broker --socket ${runtime.path}/seqbus/bus.sock`);
      expect(exitCode).toBe(3);
    },
  );

  testUnless(!IS_ROOT, "needs root for setpriv", "refuses other users at its socket", async () => {
    await using broker = await CliBroker.start();
    chmodSync(broker.directory.path, 0o755);
    const { exitCode, stderr } = await broker.run(["pub", "a", "b"], { prefix: AS_USER });
    const why = "the socket, or a directory on its path, does not let uid 60701 in";
    expect(stderr).toBe(`seqbus: Cannot connect to ${broker.socket}: EACCES; ${why}\n`);
    expect(exitCode).toBe(4);
  });

  test("leaves the broker that serves a path alone", async () => {
    await using first = await CliBroker.start();
    const { exitCode, stderr } = await failedStart("--socket", first.socket);
    expect(stderr).toContain("another broker does");
    expect(exitCode).toBe(5);
    await using bus = await connect({ path: first.socket });
    expect(await bus.flush()).toMatchObject({ published: 0 });
  });

  test("refuses a path that is too long", async () => {
    const { exitCode, stderr } = await failedStart("--socket", `/tmp/${"x".repeat(120)}`);
    expect(stderr).toContain("it is 125 bytes, limit is 107");
    expect(exitCode).toBe(2);
  });

  test("refuses a directory that is missing", async () => {
    using directory = new TemporaryDirectory();
    const { exitCode, stderr } = await failedStart("--socket", directory.file("no/bus.sock"));
    expect(stderr).toContain("does not exist");
    expect(exitCode).toBe(5);
  });

  testUnless(!IS_ROOT, "needs root for chown", "refuses somebody else's directory", async () => {
    using directory = new TemporaryDirectory();
    chownSync(directory.path, 60_701, 60_701);
    const { exitCode, stderr } = await failedStart("--socket", directory.file("bus.sock"));
    expect(stderr).toContain("belongs to uid 60701");
    expect(exitCode).toBe(5);
  });

  test.each<[string, string, string]>([
    ["an unknown key", '[[rule]]\nalow = ["publish"]\n', ":2:1: Unknown key"],
    [
      "an unknown user",
      '[[rule]]\nallow = ["publish"]\ntopics = ["a"]\nuser = "nobodyhere"\n',
      ":4:8: ",
    ],
    ["nothing in it", "", ":1:1: No rule"],
  ])("does not start with a policy that has %s", async (_what, text, complaint) => {
    using directory = new TemporaryDirectory();
    const policy = directory.write("policy.toml", text);
    const socket = directory.file("bus.sock");
    const { exitCode, stderr } = await failedStart("--socket", socket, "--policy", policy);
    expect(stderr).toContain(`policy.toml${complaint}`);
    expect(exitCode).toBe(5);
    expect(existsSync(socket)).toBe(false);
  });

  test("goes on when nobody reads its log", async () => {
    using directory = new TemporaryDirectory();
    const socket = directory.file("bus.sock");
    const words = ["broker", "--socket", socket, "--verbose"];
    // The reader of standard error ends after one line; each connection writes another.
    const command = ["bash", "-c", 'exec "$@" 2> >(head -1 >/dev/null)', "bash"];
    await using broker = new CliProcess(words, { prefix: command });
    await broker.printed("listening on");
    for (let index = 0; index < 20; index += 1) {
      await using bus = await connect({ path: socket });
      bus.publish("a", index);
      expect(await bus.flush()).toMatchObject({ published: 1 });
    }
  });

  test("goes on when its log is full", async () => {
    using directory = new TemporaryDirectory();
    const socket = directory.file("bus.sock");
    using log = new FullPipe(directory.file("log"));
    const words = ["broker", "--socket", socket, "--verbose"];
    await using broker = new CliProcess(words, { stderrFd: log.writeFd });
    await broker.printed("listening on");
    await using bus = await connect({ path: socket });
    bus.publish("a", 1);
    expect(await bus.flush()).toMatchObject({ published: 1 });
  });
});

/** A FIFO that somebody has open and does not read: writing to it would block. */
class FullPipe implements Disposable {
  /** In blocking mode, as a terminal or a journal is. */
  readonly writeFd: number;
  readonly #readFd: number;

  constructor(path: string) {
    Bun.spawnSync(["mkfifo", path]);
    this.#readFd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    this.writeFd = openSync(path, constants.O_WRONLY);
    const zeros = new Uint8Array(4_096);
    for (;;) {
      try {
        writeSync(this.#readFd, zeros);
      } catch (error) {
        expect(error).toMatchObject({ code: "EAGAIN" });
        return;
      }
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.writeFd);
    closeSync(this.#readFd);
  }
}
