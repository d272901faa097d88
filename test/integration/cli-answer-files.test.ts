/** Files that come with answers: `seqbus call --save-fds`, and what `seqbus serve` does with files. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Bus, connect, Memory, reply } from "../../src/client/index.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { CliBroker, TemporaryDirectory } from "../support/cli-process.ts";
import { ODD_FILES } from "../support/odd-files.ts";

/** Takes several reads and writes to copy. */
const LONG_TEXT = "0123456789".repeat(1_000_000);

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

/** An answer with sealed memory for each text. */
function replyWith(data: unknown, ...texts: readonly string[]) {
  using made = new DisposableStack();
  const fds = texts.map((text) => made.use(Memory.from(text).seal()));
  return reply(data, { fds });
}

describe("seqbus call --save-fds", () => {
  test("saves the files of an answer, and prints the answer alone", async () => {
    await using _ = await bus.serve("call.saves", () => replyWith("answer", "one", "three"));
    const result = await broker.run(["call", "call.saves", "x", "--save-fds", saved]);
    expect(result).toEqual({
      exitCode: 0,
      stdout: "answer\n",
      stderr:
        "seqbus: File 0 is saved: 000001-0, 3 bytes\nseqbus: File 1 is saved: 000001-1, 5 bytes\n",
    });
    expect(savedText("000001-0")).toBe("one");
    expect(savedText("000001-1")).toBe("three");
  });

  test("says with --output json what became of each, as seqbus sub does", async () => {
    const eventFd = ODD_FILES.find(({ kind }) => kind === "eventfd")?.open(directory.path) ?? -1;
    await using _ = await bus.serve("call.odd", () => {
      using five = Memory.from("12345").seal();
      using six = Memory.from("123456").seal();
      return reply("x", { fds: [eventFd, six, five] });
    });
    const words = ["call", "call.odd", "x", "--output", "json"];
    const { exitCode, stdout } = await broker.run([
      ...words,
      "--save-fds",
      saved,
      "--save-max",
      "5",
    ]);
    closeFd(eventFd);
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout).fds).toEqual([
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

  test("ends with 1 where a file is not saved, and still prints the answer", async () => {
    await using _ = await bus.serve("call.long", () => replyWith("answer", "123456"));
    const words = ["call", "call.long", "x", "--save-fds", saved, "--save-max", "5"];
    expect(await broker.run(words)).toEqual({
      exitCode: 1,
      stdout: "answer\n",
      stderr:
        "seqbus: File 0 of the message was not saved: Cannot read received file: " +
        "it has more than 5 bytes\n",
    });
  });

  test("ends with 0 where no files come", async () => {
    await using _ = await bus.serve("call.none", () => "answer");
    const result = await broker.run(["call", "call.none", "x", "--save-fds", saved]);
    expect(result).toEqual({ exitCode: 0, stdout: "answer\n", stderr: "" });
  });

  test("saves those of each part with --stream, and leaves --output bytes to the answer", async () => {
    await using _ = await bus.serve("call.parts", async function* () {
      yield replyWith("a", "first");
      yield "b";
      yield replyWith("c", "second");
    });
    const words = ["call", "call.parts", "x", "--stream", "--output", "bytes"];
    const result = await broker.run([...words, "--save-fds", saved]);
    expect(result).toEqual({ exitCode: 0, stdout: "abc", stderr: "" });
    expect(readdirSync(saved).sort()).toEqual(["000001-0", "000002-0"]);
    expect(savedText("000002-0")).toBe("second");
  });

  test("saves whoever reads the answer", async () => {
    await using _ = await bus.serve("call.unread", () => replyWith("answer", LONG_TEXT));
    const prefix = ["sh", "-c", 'exec "$@" | true', "sh"];
    await broker.run(["call", "call.unread", "x", "--save-fds", saved], { prefix });
    expect(savedText("000001-0") === LONG_TEXT).toBe(true);
  });

  test("says where the policy withholds them, and ends with 1", async () => {
    const rule = 'allow = ["serve", "call", "send-fds"]\ntopics = [">"]\nany = true\n';
    await using strict = await CliBroker.start(`[[rule]]\n${rule}`);
    await using server = await connect({ path: strict.socket });
    await using _ = await server.serve("call.withheld", () => replyWith("answer", "secret"));
    const result = await strict.run(["call", "call.withheld", "x", "--save-fds", saved]);
    expect(result).toEqual({
      exitCode: 1,
      stdout: "answer\n",
      stderr: "seqbus: The answer came without its files: files withheld by the policy\n",
    });
  });

  test.each([
    [["--save-fds", "/dev/null"], 1, "/dev/null"],
    [["--save-fds", "/tmp", "--save-max", "0"], 2, "--save-max must be"],
  ])("refuses %j in one line, before it calls", async (words, exitCode, complaint) => {
    const result = await broker.run(["call", "call.nobody", "x", ...words]);
    expect(result).toMatchObject({ exitCode, stdout: "" });
    expect(result.stderr).toMatch(/^seqbus: .*\n$/);
    expect(result.stderr).toContain(complaint);
  });
});
