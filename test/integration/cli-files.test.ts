/** `seqbus pub --file/--memfd` and `seqbus sub --save-fds`, as scripts use them. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync, symlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type Bus, connect, Memory } from "../../src/client/index.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { CliBroker, type CliProcess, TemporaryDirectory } from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";
import { ODD_FILES } from "../support/odd-files.ts";
import { openPipe } from "../support/pipes.ts";
import { countingBytes } from "../support/test-memory.ts";

let broker: CliBroker;
let bus: Bus;
let directory: TemporaryDirectory;
let saved: string;

beforeAll(async () => {
  broker = await CliBroker.start();
  bus = await connect({ path: broker.socket });
});

afterAll(async () => {
  await bus.close();
  await broker[Symbol.asyncDispose]();
});

beforeEach(() => {
  directory = new TemporaryDirectory();
  saved = directory.file("saved");
});

afterEach(() => directory[Symbol.dispose]());

function savedText(name: string): string {
  return readFileSync(join(saved, name), "utf8");
}

function jsonLines({ stdout }: CliProcess | { stdout: string }) {
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

describe("seqbus pub", () => {
  test("passes --file and --memfd along in the order they stand in", async () => {
    const messages = await bus.subscribe("pub.order");
    const paths = ["one", "two", "three"].map((name) => directory.write(name, `I am ${name}`));
    const [one = "", two = "", three = ""] = paths;
    const words = ["pub", "pub.order", "body", "--memfd", one, "--file", two, "--memfd", three];
    expect(await broker.run(words)).toEqual({ exitCode: 0, stdout: "", stderr: "" });
    const { value } = await messages.next();
    expect(value.data).toBe("body");
    const files = [...value.fds];
    expect(files.map(({ kind }) => kind)).toEqual([
      "memfd-sealed",
      "file-read-only",
      "memfd-sealed",
    ]);
    expect(await Promise.all(files.map((file) => file.text()))).toEqual([
      "I am one",
      "I am two",
      "I am three",
    ]);
    await messages.close();
  });

  test.each([[[]], [["body"]]])(
    "--memfd - takes standard input, with the words %j",
    async (data) => {
      const messages = await bus.subscribe("pub.stdin");
      const stdin = countingBytes(3_000_000);
      const words = ["pub", "pub.stdin", ...data, "--memfd", "-"];
      expect(await broker.run(words, { stdin })).toMatchObject({ exitCode: 0, stderr: "" });
      const { value } = await messages.next();
      expect(value.data).toBe(data[0] ?? "");
      using file = value.fds.take(0);
      using mapped = Memory.map(file);
      expect(Bun.hash(mapped.bytes)).toBe(Bun.hash(stdin));
      await messages.close();
    },
  );

  test.each([
    [["-", "--memfd", "-"], 2, "standard input 2 times"],
    [["x", "--memfd", "-", "--memfd", "-"], 2, "standard input 2 times"],
    [["x", "--memfd", "/nowhere"], 1, "Cannot open /nowhere: ENOENT"],
    [["x", "--memfd", "/"], 1, "EISDIR"],
  ])("refuses %j in one line", async (words, exitCode, complaint) => {
    const result = await broker.run(["pub", "pub.refused", ...words]);
    expect(result).toMatchObject({ exitCode, stdout: "" });
    expect(result.stderr).toMatch(/^seqbus: .*\n$/);
    expect(result.stderr).toContain(complaint);
  });
});

describe("seqbus sub --save-fds", () => {
  test("copies files, memory and pipes from their start, and tells where", async () => {
    await using sub = await broker.subscribe(["save.kinds", "--save-fds", saved, "--count", "2"]);
    const { reader, writer } = openPipe();
    writeSync(writer, "from a pipe");
    closeFd(writer);
    using memory = Memory.from("sealed").seal();
    bus.publish("save.kinds", "one", { fds: [memory, reader] });
    closeFd(reader);
    const path = directory.write("letter", "dear reader");
    await bus.flush();
    await broker.run(["pub", "save.kinds", "two", "--file", path]);
    const { exitCode, stdout } = await sub.result();
    expect(exitCode).toBe(0);
    expect(readdirSync(saved).sort()).toEqual(["000001-0", "000001-1", "000002-0"]);
    expect(savedText("000001-0")).toBe("sealed");
    expect(savedText("000001-1")).toBe("from a pipe");
    expect(savedText("000002-0")).toBe("dear reader");
    expect(statSync(join(saved, "000002-0")).mode & 0o777).toBe(0o600);
    expect(statSync(saved).mode & 0o777).toBe(0o700);
    expect(stdout).toContain("one  [2 files]\n  000001-0  6 bytes\n  000001-1  11 bytes\n");
  });

  test("reports what it does not save, and goes on", async () => {
    const words = ["save.odd", "--save-fds", saved, "--save-max", "5", "--count", "1", "--json"];
    await using sub = await broker.subscribe(words);
    const eventFd = ODD_FILES.find(({ kind }) => kind === "eventfd")?.open(directory.path) ?? -1;
    using five = Memory.from("12345").seal();
    using six = Memory.from("123456").seal();
    bus.publish("save.odd", "x", { fds: [eventFd, six, five] });
    closeFd(eventFd);
    expect((await sub.result()).exitCode).toBe(0);
    expect(jsonLines(sub)[0].fds).toEqual([
      { kind: "eventfd", notSaved: "its kind is eventfd" },
      {
        kind: "memfd-sealed",
        bytes: 6,
        notSaved: "Cannot read received file: it has more than 5 bytes",
      },
      { kind: "memfd-sealed", bytes: 5, saved: "000001-2", savedBytes: 5 },
    ]);
    expect(readdirSync(saved)).toEqual(["000001-2"]);
  });

  test("goes on from the numbers that are there, and never follows or overwrites", async () => {
    using memory = Memory.from("new").seal();
    {
      await using sub = await broker.subscribe(["save.twice", "--save-fds", saved, "--count", "1"]);
      bus.publish("save.twice", "x", { fds: [memory] });
      await sub.result();
    }
    await using sub = await broker.subscribe(["save.twice", "--save-fds", saved, "--count", "2"]);
    const victim = directory.file("victim");
    symlinkSync(victim, join(saved, "000002-0"));
    bus.publish("save.twice", "x", { fds: [memory] });
    bus.publish("save.twice", "y", { fds: [memory] });
    const { stderr } = await sub.result();
    expect(stderr).toContain("was not saved: Cannot make 000002-0: EEXIST\n");
    expect(existsSync(victim)).toBe(false);
    expect(savedText("000003-0")).toBe("new");
  });

  test("keeps bodies apart with --bytes", async () => {
    const words = ["save.bytes", "--bytes", "--save-fds", saved, "--count", "1"];
    await using sub = await broker.subscribe(words);
    using memory = Memory.from("file").seal();
    bus.publish("save.bytes", "body", { fds: [memory] });
    expect((await sub.result()).stdout).toBe("body");
    expect(savedText("000001-0")).toBe("file");
  });

  test("leaves no fd behind", async () => {
    await using sub = await broker.subscribe(["save.many", "--save-fds", saved]);
    const count = () => readdirSync(`/proc/${sub.pid}/fd`).length;
    using memory = Memory.from(countingBytes(200_000)).seal();
    const send = async (index: number) => {
      const { reader, writer } = openPipe();
      writeSync(writer, "piped");
      closeFd(writer);
      bus.publish("save.many", `${index}`, { fds: [memory, reader] });
      closeFd(reader);
      const name = `${String(index).padStart(6, "0")}-1  5 bytes`;
      await eventually(() => sub.stdout.includes(name), `${name} in ${sub.stdout}`);
    };
    await send(1);
    const before = count();
    for (let index = 2; index <= 30; index += 1) await send(index);
    await eventually(
      () => count() <= before,
      () => `${before} fds are left of ${count()}`,
    );
    expect(readdirSync(saved)).toHaveLength(60);
  });

  test.each([
    [["--save-fds", "/dev/null"], 1, "/dev/null"],
    [["--save-fds", "d", "--cat-fds"], 2, "cannot be used with"],
    [["--save-fds", "/tmp", "--save-max", "0"], 2, "--save-max must be"],
  ])("refuses %j in one line", async (words, exitCode, complaint) => {
    const result = await broker.run(["sub", "a", ...words]);
    expect(result).toMatchObject({ exitCode, stdout: "" });
    expect(result.stderr).toMatch(/^seqbus: .*\n$/);
    expect(result.stderr).toContain(complaint);
  });
});

describe("seqbus sub", () => {
  test("names kinds and lengths with --json", async () => {
    await using sub = await broker.subscribe(["kinds", "--json", "--count", "1"]);
    const { reader, writer } = openPipe();
    using memory = Memory.from("sealed").seal();
    bus.publish("kinds", "x", { fds: [memory, reader] });
    closeFd(reader);
    closeFd(writer);
    await sub.result();
    expect(jsonLines(sub)[0].fds).toEqual([{ kind: "memfd-sealed", bytes: 6 }, { kind: "pipe" }]);
  });

  test("prints files whole with --cat-fds, though others have read from them", async () => {
    const words = ["cat", "--cat-fds", "--count", "1"];
    await using first = await broker.subscribe(words);
    await using second = await broker.subscribe(words);
    const path = directory.write("letter", "dear reader\n".repeat(20_000));
    await broker.run(["pub", "cat", "x", "--file", path]);
    for (const sub of [first, second]) {
      const { stdout } = await sub.result();
      expect(stdout.slice(stdout.indexOf("\n") + 1)).toBe(readFileSync(path, "utf8"));
    }
  });

  const atLimit = "Cannot read received file: it has more than 5 bytes";
  test.each([
    [[], `seqbus: ${atLimit}\n`],
    [["--json"], `"error":"${atLimit}"`],
  ])("gives up a pipe that never ends with --cat-fds %j, and goes on", async (words, told) => {
    const options = ["--cat-fds", "--save-max", "5", "--count", "2"];
    await using sub = await broker.subscribe(["endless", ...options, ...words]);
    const { reader, writer } = openPipe();
    writeSync(writer, "a part");
    bus.publish("endless", "x", { fds: [reader] });
    bus.publish("endless", "next");
    const { exitCode, stdout, stderr } = await sub.result();
    expect(exitCode).toBe(0);
    expect(stdout + stderr).toContain(told);
    expect(stdout).toContain("next");
    closeFd(reader);
    closeFd(writer);
  });
});
