/** `seqbus serve`, `watch` and `call` while their broker goes and another one comes. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { CliProcess, runCli } from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";
import { MortalBroker } from "../support/mortal-broker.ts";

let broker: MortalBroker;

beforeEach(async () => {
  broker = await MortalBroker.start();
});

afterEach(async () => {
  await broker[Symbol.asyncDispose]();
});

function start(...words: string[]): CliProcess {
  return new CliProcess([...words, "--socket", broker.path]);
}

async function run(...words: string[]): ReturnType<typeof runCli> {
  return await runCli([...words, "--socket", broker.path]);
}

/** What a line of standard error says where it is JSON. */
function statusOf(line: string): Record<string, unknown>[] {
  return line.startsWith("{") ? [JSON.parse(line).status] : [];
}

describe("a broker that is killed and started again", () => {
  test("is served on by serve, which tells of it", async () => {
    await using serve = start("serve", "a.b", "--exec", "cat", "-v");
    await serve.logged("serving a.b");
    await broker.kill();
    await serve.logged("trying to connect again");
    await broker.start();
    await serve.logged("connected again");
    expect((await run("wait", "a.b")).exitCode).toBe(0);
    expect((await run("call", "a.b", "hello")).stdout).toBe("hello\n");
    serve.signal("SIGTERM");
    const { exitCode, stderr } = await serve.result();
    expect(exitCode).toBe(143);
    expect(stderr.match(/serving a\.b/g)).toHaveLength(2);
  });

  test("is told by all commands that go on as lines of JSON, with --json", async () => {
    await using serve = start("serve", "a.b", "--exec", "cat", "--json", "-v");
    await serve.logged('"serving"');
    await using watch = start("watch", "a.b", "--json");
    await watch.printed('"count":1');
    await using sub = start("sub", "c", "--json", "-v");
    await sub.logged('"subscribed"');
    await broker.restart();
    const lost = { type: "disconnected", code: "CLOSED_BY_PEER", unconfirmed: 0 };
    for (const child of [serve, watch, sub]) {
      await child.logged('"connected"');
      const statuses = child.stderr.split("\n").flatMap(statusOf);
      const ofConnection = statuses.filter(({ type }) => String(type).endsWith("connected"));
      expect(ofConnection).toMatchObject([
        { ...lost, message: expect.stringContaining(broker.path) },
        { type: "connected", attempts: expect.any(Number), connection: expect.any(Number) },
      ]);
    }
    await eventually(() => serve.stderr.split('"serving"').length === 3, "it serves again");
    const [first] = serve.stderr.split("\n").flatMap(statusOf);
    expect(first).toEqual({ type: "serving", service: "a.b", generation: expect.any(Number) });
  });

  test("is watched on by watch, which prints the state there", async () => {
    await using watch = start("watch", "a.b", "--json", "-n", "3");
    await watch.printed('"count":0');
    await broker.restart();
    await watch.printed('"epoch":2');
    const bus = await broker.open();
    await bus.serve("a.b", () => 1);
    const { exitCode, stdout } = await watch.result();
    const states = stdout.trim().split("\n");
    expect(exitCode).toBe(0);
    expect(states.map((line) => JSON.parse(line))).toMatchObject([
      { epoch: 1, count: 0 },
      { epoch: 2, count: 0 },
      { epoch: 2, count: 1 },
    ]);
  });
});

describe("--no-reconnect", () => {
  test.each([
    ["serve", ["--exec", "cat", "-v"]],
    ["watch", []],
  ])("ends %s with the broker", async (command, words) => {
    await using child = start(command, "a.b", ...words, "--no-reconnect");
    if (command === "watch") await child.printed("nobody");
    else await child.logged("a.b");
    await broker.process.stop();
    const { exitCode, stderr } = await child.result();
    expect(exitCode).toBe(1);
    expect(stderr).toContain("seqbus: ");
  });
});

describe("seqbus call over a broker that is killed", () => {
  /** The first call is never answered. */
  async function callAndKill(...words: string[]): ReturnType<typeof runCli> {
    const bus = await broker.open();
    let calls = 0;
    await bus.serve("a.b", ({ data }) => {
      calls += 1;
      return calls === 1 ? new Promise(() => {}) : `answer to ${data}`;
    });
    await using call = start("call", "a.b", "x", ...words);
    await eventually(() => calls === 1, "it is called");
    await broker.restart();
    return await call.result();
  }

  test("fails, and says why", async () => {
    const { exitCode, stdout, stderr } = await callAndKill();
    expect([exitCode, stdout]).toEqual([1, ""]);
    expect(stderr).toContain("closed the connection");
  });

  test("is answered by the next one where it is idempotent", async () => {
    const { exitCode, stdout } = await callAndKill("--idempotent");
    expect([exitCode, stdout]).toEqual([0, "answer to x\n"]);
  });

  test("takes no --stream with --idempotent", async () => {
    expect((await run("call", "a.b", "x", "--stream", "--idempotent")).exitCode).toBe(2);
  });
});
