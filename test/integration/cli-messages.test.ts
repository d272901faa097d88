/** `seqbus pub` and `seqbus sub`, as scripts and people use them. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { type Bus, connect, type PublishOptions } from "../../src/client/index.ts";
import {
  CliBroker,
  CliProcess,
  runCli,
  SEQBUS,
  TemporaryDirectory,
} from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";
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

/** Publishes until exactly one subscriber gets it: the command has subscribed by then. */
async function publishWhenHeard(topic: string, data: unknown, options?: PublishOptions) {
  // A receipt sums up all that was published since the last one.
  await bus.flush();
  await eventually(async () => {
    bus.publish(topic, data, options);
    return (await bus.flush()).delivered === 1;
  }, `somebody subscribes to ${topic}`);
}

function startSub(...words: string[]): CliProcess {
  return new CliProcess(["sub", ...words], { env: broker.env });
}

describe("seqbus sub", () => {
  test("prints topic, sender and data, and ends after --count messages", async () => {
    await using sub = startSub("one.*", "--count", "1");
    await publishWhenHeard("one.a", "hello");
    const line = `one.a  uid=${process.getuid?.()} pid=${process.pid}  hello\n`;
    expect(await sub.result()).toMatchObject({ exitCode: 0, stdout: line, stderr: "" });
  });

  test("shares messages with others of its --group", async () => {
    const words = ["work", "--group", "g", "--overflow", "drop-oldest", "-v"];
    await using one = startSub(...words);
    await using other = startSub(...words);
    for (const sub of [one, other]) await sub.logged("subscribed to work");
    const texts = Array.from({ length: 20 }, (_, index) => `text${index}.`);
    for (const text of texts) bus.publish("work", text);
    expect(await bus.flush()).toMatchObject({ delivered: texts.length });
    const printed = () => `${one.stdout}${other.stdout}`.match(/text\d+\./g) ?? [];
    await eventually(() => printed().length >= texts.length, "all are printed");
    expect(printed().toSorted()).toEqual(texts.toSorted());
    expect(one.stdout).not.toBe("");
    expect(other.stdout).not.toBe("");
  });

  test("tells where messages are missing, on which topic, how many and why", async () => {
    await using sub = startSub("flood.*", "--json", "--overflow", "drop-oldest", "-v");
    await sub.logged("subscribed");
    sub.signal("SIGSTOP");
    const count = 30_000;
    for (let number = 0; number < count; number += 1) {
      if (!bus.publish("flood.a", { number, filling: "x".repeat(1_000) })) await bus.flush();
    }
    bus.publish("flood.b", { number: count });
    await bus.flush();
    sub.signal("SIGCONT");
    await sub.printed(`"number":${count}`);
    let next = 0;
    let gaps = 0;
    for (const line of sub.stdout.trimEnd().split("\n")) {
      const { gap, data } = JSON.parse(line);
      if (gap === undefined) expect(data.number).toBe(next);
      else expect(gap).toMatchObject({ topic: "flood.a", reason: "oldest-dropped" });
      next += gap?.count ?? 1;
      gaps += gap === undefined ? 0 : 1;
    }
    expect([next, gaps > 0]).toEqual([count + 1, true]);
    await sub.logged(' lost on "flood.a": oldest-dropped');
  });

  test("refuses an --overflow that there is not", async () => {
    await using sub = startSub("work", "--overflow", "drop");
    const { exitCode, stderr } = await sub.result();
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain("latest-per-topic");
  });

  test("prints one JSON object a line with --json", async () => {
    await using sub = startSub("two.*", "--json", "--count", "2");
    await publishWhenHeard("two.a", { celsius: 21.5 });
    bus.publish("two.b", new Uint8Array([1, 2, 255]));
    const { stdout } = await sub.result();
    const [first, second] = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(first).toMatchObject({
      topic: "two.a",
      sender: { uid: process.getuid?.(), pid: process.pid },
      encoding: "msgpack",
      data: { celsius: 21.5 },
      fds: [],
    });
    expect(second).toMatchObject({ topic: "two.b", encoding: "bytes", bytesBase64: "AQL/" });
  });

  test("keeps a hostile body on its line", async () => {
    await using sub = startSub("hostile", "--count", "1");
    await publishWhenHeard("hostile", "a\nfake  uid=0 pid=1  b\u001b[2J");
    const { stdout } = await sub.result();
    expect(stdout.trimEnd().split("\n")).toHaveLength(1);
    expect(stdout).not.toContain("\u001b");
  });

  test("prints what received files hold with --cat-fds", async () => {
    using files = new TemporaryDirectory();
    const fd = openSync(files.write("letter", "dear reader\n"), "r");
    await using sub = startSub("files.*", "--cat-fds", "--count", "1");
    await publishWhenHeard("files.a", "letter", { fds: [fd] });
    closeSync(fd);
    const { stdout } = await sub.result();
    expect(stdout).toContain("[1 file]\ndear reader\n");
  });

  test("ends cleanly on Ctrl-C with 130", async () => {
    await using sub = startSub("three.*");
    await publishWhenHeard("three.a", "x");
    sub.signal("SIGINT");
    expect(await sub.result()).toMatchObject({ exitCode: 130, stderr: "" });
  });

  test("ends quietly when nobody reads any more", async () => {
    const pipe = `${SEQBUS.join(" ")} sub 'four.*' --socket ${broker.socket} | head -1`;
    await using shell = new CliProcess([], {
      command: ["bash", "-c", `set -o pipefail; ${pipe}`],
    });
    await publishWhenHeard("four.a", "first");
    // The command notices at a write, so somebody must go on publishing.
    await eventually(async () => {
      bus.publish("four.a", "more");
      return (await bus.flush()).delivered === 0;
    }, "the command ends");
    expect(await shell.result()).toMatchObject({ exitCode: 0, stderr: "" });
  });

  test("says why when the broker ends, and it is not to wait for the next", async () => {
    await using own = await CliBroker.start();
    await using probe = await connect({ path: own.socket });
    await using sub = new CliProcess(["sub", "a", "--no-reconnect"], { env: own.env });
    await eventually(async () => {
      probe.publish("a", "x");
      return (await probe.flush()).delivered === 1;
    }, "the command subscribes");
    own.process.signal("SIGTERM");
    const { exitCode, stderr } = await sub.result();
    expect(stderr).toBe("seqbus: The broker is shutting down\n");
    expect(exitCode).toBe(1);
  });

  test("ends on Ctrl-C while it waits for the next broker", async () => {
    await using own = await CliBroker.start();
    await using sub = await own.subscribe(["a"]);
    own.process.signal("SIGTERM");
    await sub.logged("trying to connect again");
    sub.signal("SIGINT");
    const { exitCode } = await sub.result();
    expect(exitCode).toBe(130);
  });

  test("goes on with the next broker, and tells of the gap", async () => {
    using directory = new TemporaryDirectory();
    const path = directory.file("bus.sock");
    const words = ["sub", "a", "--json", "--verbose", "--count", "2", "--socket", path];
    let own = await spawnBroker({ path });
    try {
      await using sub = new CliProcess(words);
      await sub.logged("subscribed");
      await runCli(["pub", "a", "before", "--socket", path]);
      await own.stop();
      await sub.logged('"disconnected"');
      own = await spawnBroker({ path });
      await sub.logged('"connected"');
      await runCli(["pub", "a", "after", "--socket", path]);
      const { exitCode, stdout, stderr } = await sub.result();
      expect(exitCode).toBe(0);
      const lines = stdout.trim().split("\n");
      expect(lines.map((line) => JSON.parse(line))).toMatchObject([
        { data: "before" },
        { gap: { topic: null, count: null, reason: "disconnected" } },
        { data: "after" },
      ]);
      expect(stderr).toContain("Messages may be missing: disconnected");
    } finally {
      await own[Symbol.asyncDispose]();
    }
  });
});

describe("seqbus pub", () => {
  test("publishes text, and quietly", async () => {
    const messages = await bus.subscribe("pub.text");
    expect(await broker.run(["pub", "pub.text", "21.5"])).toEqual({
      exitCode: 0,
      stdout: "",
      stderr: "",
    });
    expect((await messages.next()).value?.data).toBe("21.5");
  });

  test.each<[string, string[], string, unknown]>([
    ["DATA from standard input", [], "from stdin\n", "from stdin\n"],
    ["DATA from standard input for -", ["-"], "dash", "dash"],
    ["--json as JSON", ["--json"], '{"a": [1, null]}', { a: [1, null] }],
    ["--bytes as they are", ["--bytes"], "\u00ff", Buffer.from("\u00ff")],
  ])("publishes %s", async (_what, words, stdin, expected) => {
    const messages = await bus.subscribe("pub.input");
    const result = await broker.run(["pub", "pub.input", ...words], { stdin });
    expect(result).toMatchObject({ exitCode: 0, stderr: "" });
    expect((await messages.next()).value?.data).toEqual(expected);
    await messages.close();
  });

  test("opens each --file and passes it along", async () => {
    using files = new TemporaryDirectory();
    const messages = await bus.subscribe("pub.files");
    const paths = ["one", "two"].map((name) => files.write(name, `I am ${name}`));
    const words = paths.flatMap((path) => ["--file", path]);
    expect((await broker.run(["pub", "pub.files", "two files", ...words])).exitCode).toBe(0);
    const { value } = await messages.next();
    using first = value?.fds.take(0);
    using second = value?.fds.take(1);
    expect(await Bun.file(first?.fd ?? -1).text()).toBe("I am one");
    expect(await Bun.file(second?.fd ?? -1).text()).toBe("I am two");
  });

  test.each([[[]], [["--json"]], [["--json", "--retain"]]])(
    "prints what became of it as JSON with --receipt, whatever DATA is: %j",
    async (words) => {
      await using _ = await bus.subscribe("pub.receipt");
      const { stdout } = await broker.run(["pub", "pub.receipt", "1", "--receipt", ...words]);
      expect(JSON.parse(stdout)).toMatchObject({ matched: 1, delivered: 1, dropped: 0, denied: 0 });
      await bus.clearRetained("pub.receipt");
    },
  );

  test.each<[string, string[], number, string]>([
    ["a malformed topic", ["pub", "a..b", "x"], 2, "a..b"],
    ["data that is not JSON", ["pub", "a", "{", "--json"], 2, "it is not JSON"],
    ["two encodings", ["pub", "a", "x", "--json", "--text"], 2, "cannot be used with"],
    ["a file that the topic does not take", ["pub", "a", "x", "--file", "/"], 4, '"directory"'],
    ["a file that is not there", ["pub", "a", "x", "--file", "/nowhere"], 1, "ENOENT"],
    ["an unknown option", ["pub", "a", "--frob"], 2, "unknown option"],
    ["an unknown command", ["frob"], 2, "unknown command"],
    ["a count of nothing", ["sub", "a", "--count", "0"], 2, "--count must be"],
  ])("refuses %s in one line", async (what, words, exitCode, complaint) => {
    const result = await broker.run(words);
    expect(result.exitCode).toBe(exitCode);
    expect(result.stdout).toBe("");
    expect(result.stderr).toMatch(/^seqbus: .*\n$/);
    if (what !== "a malformed topic") expect(result.stderr).toContain(complaint);
  });

  test("says how to start a broker where none is", async () => {
    using directory = new TemporaryDirectory();
    const socket = directory.file("none.sock");
    const result = await runCli(["pub", "a", "x", "--socket", socket]);
    expect(result.stderr).toContain(`seqbus broker --socket ${socket}`);
    expect(result.exitCode).toBe(3);
  });

  test("ends with 4 and names the rule where the policy refuses", async () => {
    await using strict = await CliBroker.start(`
[[rule]]
id = "nobody-publishes"
deny = ["publish"]
topics = [">"]
any = true
`);
    const result = await strict.run(["pub", "a", "x"]);
    expect(result.stderr).toContain('rule "nobody-publishes" denies it');
    expect(result.exitCode).toBe(4);
  });

  test("prints help and version on standard output", async () => {
    expect((await runCli(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    const help = await runCli(["help", "pub"]);
    expect(help.stdout).toContain("--file");
    expect(help.exitCode).toBe(0);
  });
});

describe("seqbus pub --retain", () => {
  test("leaves a last value that a later seqbus sub shows as such", async () => {
    const options = { env: broker.env };
    expect(await runCli(["pub", "kept.a", "on", "--retain"], options)).toMatchObject({
      exitCode: 0,
    });
    await using human = startSub("kept.*", "--count", "1");
    await using json = startSub("kept.*", "--count", "1", "--json");

    expect((await human.result()).stdout).toMatch(
      /^kept\.a {2}uid=\d+ pid=\d+ {2}on {2}\[retained\]\n$/,
    );
    expect(JSON.parse((await json.result()).stdout)).toMatchObject({ data: "on", retained: true });

    expect(await runCli(["pub", "kept.a", "--clear"], options)).toMatchObject({ exitCode: 0 });
    expect(await bus.clearRetained("kept.a")).toBe(false);
    const again = await runCli(["pub", "kept.a", "--clear", "--receipt"], options);
    expect(JSON.parse(again.stdout)).toEqual({ cleared: false });
  });

  test("keeps it for so long with --retain-for", async () => {
    const words = ["pub", "kept.b", "on", "--retain-for", "60000"];
    expect(await runCli(words, { env: broker.env })).toMatchObject({ exitCode: 0 });

    expect(await bus.clearRetained("kept.b")).toBe(true);
  });

  test.each([
    [["kept.c", "on", "--retain-for", "soon"], "--retain-for wants milliseconds"],
    [["kept.c", "on", "--retain-for", "0"], "it must be a whole number of milliseconds"],
    [["kept.c", "on", "--clear"], "--clear publishes nothing"],
  ])("refuses %j", async (words, complaint) => {
    const { exitCode, stderr } = await runCli(["pub", ...words], { env: broker.env });

    expect(exitCode).toBe(2);
    expect(stderr).toContain(complaint);
  });
});
