/** `seqbus call`, `serve`, `watch`, `wait` and `channel`, as scripts and people use them. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Bus, connect, Memory, reply } from "../../src/client/index.ts";
import {
  CliBroker,
  CliProcess,
  processesWith,
  runCli,
  TemporaryDirectory,
} from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";
import { rejectionOf } from "../support/mortal-broker.ts";
import { spawnBroker } from "../support/spawned-broker.ts";

let broker: CliBroker;
let bus: Bus;

beforeAll(async () => {
  broker = await CliBroker.start();
  bus = await connect({ path: broker.socket });
});

afterAll(async () => {
  await bus.close();
  await broker[Symbol.asyncDispose]();
});

/** Starts `seqbus serve`, and waits until it serves. */
async function startServe(topic: string, exec: string, ...words: string[]): Promise<CliProcess> {
  const serve = new CliProcess(["serve", topic, "--exec", exec, ...words], { env: broker.env });
  await bus.waitFor(topic);
  return serve;
}

describe("seqbus call", () => {
  test("prints the answer: text as it is, all else as JSON", async () => {
    await using _ = await bus.serve("one.text", ({ data }) => `<${data}>\nsecond`);
    const text = await broker.run(["call", "one.text", "hi"]);
    expect(text).toEqual({ exitCode: 0, stdout: "<hi>\nsecond\n", stderr: "" });
    await using __ = await bus.serve("one.object", ({ data }) => ({ got: data }));
    const object = await broker.run(["call", "one.object"], { stdin: "from stdin" });
    expect(object.stdout).toBe('{"got":"from stdin"}\n');
  });

  test("sends and prints JSON with --json, with who answered and what files came", async () => {
    await using _ = await bus.serve("two", ({ data }) => {
      using memory = Memory.from("12345").seal();
      return reply({ twice: (data as { n: number }).n * 2 }, { fds: [memory] });
    });
    const { stdout } = await broker.run(["call", "two", '{"n":21}', "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({
      topic: "two",
      sender: { uid: process.getuid?.(), pid: process.pid },
      data: { twice: 42 },
      fds: [{ kind: "memfd-sealed", bytes: 5 }],
    });
  });

  test("prints the answer as --output says, whatever DATA is", async () => {
    await using _ = await bus.serve("two.output", ({ data }) => `<${data}>`);
    const asJson = await broker.run(["call", "two.output", "hi", "--output", "json"]);
    expect(JSON.parse(asJson.stdout)).toMatchObject({ topic: "two.output", data: "<hi>" });
    const asText = await broker.run(["call", "two.output", "7", "--json", "--output", "human"]);
    expect(asText.stdout).toBe("<7>\n");
  });

  test("prints failures as JSON where the answer would be", async () => {
    await using _ = await bus.serve("two.fails", () => {
      throw Object.assign(new Error("disk full"), { code: "E_FULL" });
    });
    const failed = await broker.run(["call", "two.fails", "1", "--json"]);
    expect(failed.exitCode).toBe(1);
    expect(JSON.parse(failed.stdout)).toEqual({ error: { code: "E_FULL", message: "disk full" } });
    const nobody = await broker.run(["call", "two.nobody", "1", "--json"]);
    expect(nobody.exitCode).toBe(1);
    expect(JSON.parse(nobody.stdout)).toMatchObject({ error: { code: "REJECTED_NO_SERVICE" } });
  });

  test("carries any bytes with --bytes, and files", async () => {
    await using _ = await bus.serve("three", async ({ bytes, fds }) => {
      return Buffer.concat([bytes, (await fds.at(0)?.bytes()) ?? new Uint8Array()]);
    });
    const path = broker.directory.write("three.txt", "FILE");
    const words = ["call", "three", "--bytes", "--file", path];
    const { stdout } = await broker.run(words, { stdin: Uint8Array.of(65, 10, 66) });
    expect(stdout).toBe("A\nBFILE");
  });

  test("prints the parts of an answer with --stream", async () => {
    await using _ = await bus.serve("four", async function* ({ data }) {
      for (let index = 0; index < 3; index += 1) yield `${data} ${index}`;
    });
    const { stdout } = await broker.run(["call", "four", "part", "--stream"]);
    expect(stdout).toBe("part 0\npart 1\npart 2\n");
  });

  test("ends with 1 and one line where the service fails, or nobody serves, or is too slow", async () => {
    await using _ = await bus.serve("five", () => {
      throw Object.assign(new Error("disk\u001b[31m"), { code: "E_FULL" });
    });
    expect(await broker.run(["call", "five", "x"])).toEqual({
      exitCode: 1,
      stdout: "",
      stderr: "seqbus: five failed: E_FULL: disk\\u{1b}[31m\n",
    });
    const nobody = await broker.run(["call", "five.nobody", "x"]);
    expect([nobody.exitCode, nobody.stderr]).toEqual([
      1,
      'seqbus: Cannot call "five.nobody": nobody serves it\n',
    ]);
    await using __ = await bus.serve("five.slow", ({ signal }) => {
      return new Promise((resolve) => signal.addEventListener("abort", resolve));
    });
    const slow = await broker.run(["call", "five.slow", "x", "--timeout", "50"]);
    expect([slow.exitCode, slow.stderr]).toEqual([
      1,
      'seqbus: The service "five.slow" did not answer within 50 ms\n',
    ]);
    const wrong = await broker.run(["call", "five", "x", "--timeout", "0"]);
    expect(wrong.exitCode).toBe(2);
  });

  test("gives the call up where it is interrupted", async () => {
    const { promise, resolve } = Promise.withResolvers<unknown>();
    await using _ = await bus.serve("six", ({ signal }) => {
      const { promise: over, resolve: end } = Promise.withResolvers<void>();
      signal.addEventListener("abort", () => {
        resolve(signal.reason);
        end();
      });
      call.signal("SIGINT");
      return over;
    });
    await using call = new CliProcess(["call", "six", "x"], { env: broker.env });
    expect((await call.result()).exitCode).toBe(130);
    expect(await promise).toMatchObject({ code: "CLOSED_BY_CALLER" });
  });
});

describe("seqbus serve", () => {
  test("answers with what the command prints, which knows its caller and its files", async () => {
    const exec =
      'cat; echo ":$SEQBUS_TOPIC:$SEQBUS_SENDER_UID:$SEQBUS_SENDER_PID:$SEQBUS_FDS"; cat <&3';
    await using _ = await startServe("serve.one", exec);
    using memory = Memory.from("FILE").seal();
    const { data } = await bus.call("serve.one", "body", { fds: [memory] });
    const { pid, uid } = bus.self;
    expect(data).toBe(`body:serve.one:${uid}:${pid}:1\nFILE`);
  });

  test("gives nothing of the caller's to the shell as code", async () => {
    await using _ = await startServe("serve.two", "cat");
    const data = "$(touch /tmp/never); `id`; '";
    expect((await bus.call("serve.two", data)).data).toBe(data);
  });

  test("answers with bytes where it prints no text", async () => {
    await using _ = await startServe("serve.three", "printf '\\377\\000'");
    expect((await bus.call("serve.three")).bytes).toEqual(Uint8Array.of(255, 0));
  });

  test("fails with EXIT_n and the last line of standard error, and goes on", async () => {
    await using serve = await startServe("serve.four", "echo one >&2; echo why >&2; exit 3");
    for (let round = 0; round < 2; round += 1) {
      const failure = bus.call("serve.four");
      expect(await rejectionOf(failure)).toMatchObject({ code: "EXIT_3", message: "why" });
    }
    await serve.logged("why");
  });

  test("kills the command where nobody waits for it any more", async () => {
    const mark = `SEQBUS_TEST_MARK=${crypto.randomUUID()}`;
    const [name, value] = mark.split("=") as [string, string];
    const words = ["serve", "serve.five", "--exec", "sleep 60; echo late"];
    await using _ = new CliProcess(words, { env: { ...broker.env, [name]: value } });
    await bus.waitFor("serve.five");
    const call = bus.call("serve.five", "x", { timeoutMs: 300 });
    await eventually(() => processesWith(mark).length === 3, "serve, sh and sleep run");
    expect(await rejectionOf(call)).toMatchObject({ code: "TIMEOUT_CALL" });
    await eventually(() => processesWith(mark).length === 1, "only serve runs");
  });

  test("runs as many commands at a time as --concurrency says", async () => {
    const lock = broker.directory.file("lock");
    const exec = `mkdir ${lock} || exit 9; sleep 0.05; rmdir ${lock}`;
    await using _ = await startServe("serve.six", exec, "--concurrency", "1");
    await Promise.all([1, 2, 3].map(() => bus.call("serve.six")));
  });

  test("tells of each call with --json", async () => {
    await using serve = await startServe("serve.seven", "exit 2", "--json");
    await bus.call("serve.seven", "abc").catch(() => {});
    await serve.printed("\n");
    expect(JSON.parse(serve.stdout)).toMatchObject({
      topic: "serve.seven",
      sender: { pid: process.pid },
      bytes: 3,
      code: "EXIT_2",
    });
  });

  test("lets commands come to their end where it is asked to end", async () => {
    const started = broker.directory.file("started");
    await using serve = await startServe("serve.eight", `touch ${started}; sleep 0.2; echo done`);
    const call = bus.call("serve.eight");
    await eventually(() => Bun.file(started).exists(), "the command runs");
    serve.signal("SIGTERM");
    expect((await call).data).toBe("done\n");
    expect((await serve.result()).exitCode).toBe(143);
  });

  test("fails where somebody else serves, or waits in line for it", async () => {
    await using service = await bus.serve("serve.nine", () => 1);
    const failed = await broker.run(["serve", "serve.nine", "--exec", "true"]);
    expect([failed.exitCode, failed.stderr]).toEqual([
      1,
      'seqbus: Cannot serve "serve.nine": somebody else serves it\n',
    ]);
    const words = ["serve", "serve.nine", "--exec", "echo next", "--if-owned", "queue", "-v"];
    await using next = new CliProcess(words, { env: broker.env });
    await next.logged("waiting in line for serve.nine");
    await service.close();
    await next.logged("serving serve.nine");
    expect((await bus.call("serve.nine")).data).toBe("next\n");
  });
});

describe("seqbus watch and wait", () => {
  test("watch prints who serves, now and whenever that changes", async () => {
    await using watch = new CliProcess(["watch", "watch.one", "--json", "-n", "3"], {
      env: broker.env,
    });
    await watch.printed('"count":0');
    await using service = await bus.serve("watch.one", () => 1);
    await watch.printed('"count":1');
    await service.close();
    const { exitCode, stdout } = await watch.result();
    const states = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(exitCode).toBe(0);
    expect(states.map(({ count }) => count)).toEqual([0, 1, 0]);
    expect(states[1].owners).toMatchObject([{ pid: process.pid }]);
    const { stdout: human } = await broker.run(["watch", "watch.one", "-n", "1"]);
    expect(human).toBe(`watch.one  generation=${states[2].generation}  nobody\n`);
  });

  test("wait ends when somebody serves, or with 1 where nobody does in time", async () => {
    const waiting = broker.run(["wait", "wait.one"]);
    await using _ = await bus.serve("wait.one", () => 1);
    expect(await waiting).toEqual({ exitCode: 0, stdout: "", stderr: "" });
    const { stdout } = await broker.run(["wait", "wait.one", "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ service: "wait.one", count: 1 });
    const late = await broker.run(["wait", "wait.two", "--timeout", "50"]);
    expect([late.exitCode, late.stderr]).toEqual([
      1,
      'seqbus: Nobody began to serve "wait.two" within 50 ms\n',
    ]);
  });

  test("wait waits for the broker as well, and ends with 3 where none comes", async () => {
    using directory = new TemporaryDirectory();
    const path = directory.file("bus.sock");
    const nobody = await runCli(["wait", "wait.three", "--timeout", "50", "--socket", path]);
    expect(nobody.exitCode).toBe(3);
    expect(nobody.stderr).toEndWith("no broker came within 50 ms\n");
    const words = ["wait", "wait.three", "--json", "--socket", path];
    await using waiting = new CliProcess(words);
    await using own = await spawnBroker({ path });
    await using server = await connect({ path: own.path });
    await using _ = await server.serve("wait.three", () => 1);
    const { exitCode, stdout } = await waiting.result();
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ service: "wait.three", count: 1 });
  });

  test("wait says as JSON that nobody came in time", async () => {
    const { stdout } = await broker.run(["wait", "wait.four", "--timeout", "50", "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: "TIMEOUT_SERVICE" } });
  });
});

describe("seqbus channel", () => {
  test("carries lines from one command to the other", async () => {
    await using server = new CliProcess(["channel", "chan.one", "--serve", "-v"], {
      env: broker.env,
      stdin: "from the server\n",
    });
    await server.logged("waiting for a channel on chan.one");
    const asker = new CliProcess(["channel", "chan.one", "--json", "--keep"], {
      env: broker.env,
      stdin: "one\ntwo",
    });
    await server.printed("one\ntwo\n");
    await asker.printed("from the server");
    expect(JSON.parse(asker.stdout)).toMatchObject({
      topic: "chan.one",
      sender: { pid: server.pid },
      data: "from the server",
    });
    asker.signal("SIGTERM");
    expect((await asker.result()).exitCode).toBe(143);
    expect((await server.result()).exitCode).toBe(0);
  });

  test("ends where its input does", async () => {
    const { promise, resolve } = Promise.withResolvers<unknown[]>();
    await using _ = await bus.serve("chan.two", () => 1, {
      async onChannel(channel) {
        const lines: unknown[] = [];
        for await (const { data } of channel) lines.push(data);
        resolve(lines);
      },
    });
    const { exitCode } = await broker.run(["channel", "chan.two"], { stdin: "a\nb\n" });
    expect(exitCode).toBe(0);
    expect(await promise).toEqual(["a", "b"]);
  });

  test("fails where nobody takes channels", async () => {
    await using _ = await bus.serve("chan.three", () => 1);
    const { exitCode, stderr } = await broker.run(["channel", "chan.three"]);
    expect(exitCode).toBe(1);
    expect(stderr).toStartWith("seqbus: ");
  });
});
