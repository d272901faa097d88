/** Files that come with answers: `seqbus call --save-fds`, and what `seqbus serve` does with files. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { constants, existsSync, openSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { type Bus, connect, Memory, type Message, reply } from "../../src/client/index.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { CliBroker, CliProcess, TemporaryDirectory } from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";
import { rejectionOf } from "../support/mortal-broker.ts";
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

/** Starts `seqbus serve`, and waits until it serves. */
async function startServe(topic: string, exec: string, ...words: string[]): Promise<CliProcess> {
  const options = { env: broker.env, cwd: directory.path };
  const serve = new CliProcess(["serve", topic, "--exec", exec, ...words], options);
  await bus.waitFor(topic);
  return serve;
}

/** What the files of a message hold; closes them. */
async function textsOf(message: Message): Promise<string[]> {
  using whole = message;
  return await Promise.all(Array.from(whole.fds, (file) => file.text()));
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

  test("ends where nobody reads the parts, which never end", async () => {
    await using _ = await bus.serve("call.endless", async function* () {
      for (;;) yield replyWith("part", "file");
    });
    const prefix = ["sh", "-c", 'exec "$@" | head -1', "sh"];
    const words = ["call", "call.endless", "x", "--stream", "--save-fds", saved];
    expect((await broker.run(words, { prefix })).stdout).toBe("part\n");
    expect(savedText("000001-0")).toBe("file");
  });

  test("leaves no part of a file behind where it is interrupted", async () => {
    const path = directory.file("fifo");
    Bun.spawnSync(["mkfifo", path]);
    const fd = openSync(path, "r+");
    await using _ = await bus.serve("call.silent", () => reply("answer", { fds: [fd] }));
    const words = ["call", "call.silent", "x", "--save-fds", saved];
    await using call = new CliProcess(words, { env: broker.env });
    await eventually(() => existsSync(join(saved, "000001-0")), "the file is being copied");
    call.signal("SIGINT");
    expect(await call.result()).toMatchObject({ exitCode: 130 });
    expect(readdirSync(saved)).toEqual([]);
    closeFd(fd);
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
      stderr: "seqbus: It came without its files: files withheld by the policy\n",
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

describe("seqbus serve", () => {
  test("hands all files to the command, from fd 3 on and in their order", async () => {
    const exec = "for n in $(seq 3 $((2 + SEQBUS_FDS))); do cat /proc/self/fd/$n; done";
    await using _ = await startServe("serve.many", exec);
    const texts = Array.from({ length: 100 }, (_unused, index) => `${index} `);
    using made = new DisposableStack();
    const fds = texts.map((text) => made.use(Memory.from(text).seal()));
    expect((await bus.call("serve.many", "", { fds })).data).toBe(texts.join(""));
    expect((await bus.call("serve.many")).data).toBe("");
  });

  test("hands nothing else to the command that is open", async () => {
    await using _ = await startServe("serve.others", "readlink /proc/self/fd/* || true");
    using memory = Memory.from("x").seal();
    const { data } = await bus.call("serve.others", "", { fds: [memory, memory] });
    const [, , , ...others] = String(data).trimEnd().split("\n");
    expect(others).toEqual([
      "/memfd:seqbus (deleted)",
      "/memfd:seqbus (deleted)",
      "/memfd:seqbus-answer-files (deleted)",
    ]);
  });

  test("answers with the files that the command names, open for reading from their start", async () => {
    directory.write("near", "relative");
    const far = directory.write("f\u00e4r away", "absolute");
    const exec = `echo answer; { echo near; echo '${far}'; } >> "$SEQBUS_ANSWER_FILES"`;
    await using _ = await startServe("serve.names", exec);
    for (let round = 0; round < 2; round += 1) {
      const answer = await bus.call("serve.names");
      expect(answer.data).toBe("answer\n");
      expect(Array.from(answer.fds, ({ kind }) => kind)).toEqual([
        "file-read-only",
        "file-read-only",
      ]);
      expect(await textsOf(answer)).toEqual(["relative", "absolute"]);
    }
  });

  test("takes no line end behind the last path, and paths that are not UTF-8", async () => {
    const exec = `name=$(printf '\\377'); echo odd > "$name"; printf %s "$name" > $SEQBUS_ANSWER_FILES`;
    await using _ = await startServe("serve.odd", exec);
    expect(await textsOf(await bus.call("serve.odd"))).toEqual(["odd\n"]);
  });

  test.each([
    ["a FIFO, which would seem empty", "mkfifo pipe; echo pipe"],
    ["a device", "echo /dev/null"],
  ])("refuses %s, and does not wait for it", async (_what, print) => {
    await using _ = await startServe("serve.other", `{ ${print}; } > $SEQBUS_ANSWER_FILES`);
    expect(await rejectionOf(bus.call("serve.other"))).toMatchObject({
      code: "EINVAL",
      message: "Cannot open file 0 of the answer: EINVAL",
    });
  });

  test("hands files on as open(2) opens them, without O_NONBLOCK", async () => {
    directory.write("plain", "text");
    await using _ = await startServe("serve.plain", "echo plain > $SEQBUS_ANSWER_FILES");
    using answer = await bus.call("serve.plain");
    const file = answer.fds.at(0);
    const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${file?.fd}`, "utf8"));
    expect(Number.parseInt(flags?.[1] ?? "", 8) & constants.O_NONBLOCK).toBe(0);
  });

  test("fails with the errno where a file cannot be opened, and tells the path here alone", async () => {
    const exec = 'echo "$PWD/nowhere" > $SEQBUS_ANSWER_FILES';
    await using serve = await startServe("serve.missing", exec);
    expect(await rejectionOf(bus.call("serve.missing"))).toMatchObject({
      code: "ENOENT",
      message: "Cannot open file 0 of the answer: ENOENT",
    });
    await serve.logged(`file 0 of the answer, "${directory.path}/nowhere": ENOENT\n`);
  });

  test.each([
    ["an empty line", "echo", "ENOENT"],
    ["a path with a NUL", "printf 'a\\000b'", "EINVAL"],
    ["a path that is too long", "head -c 5000 /dev/zero | tr '\\0' a", "ENAMETOOLONG"],
    ["too many lines", "yes . | head -254", "LIMIT_MESSAGE_FDS"],
    ["more than are paths", "head -c 2000000 /dev/zero", "LIMIT_FILE_BYTES"],
  ])("fails for %s", async (_what, print, code) => {
    await using _ = await startServe("serve.wrong", `${print} > $SEQBUS_ANSWER_FILES`);
    expect(await rejectionOf(bus.call("serve.wrong"))).toMatchObject({ code });
  });

  test("opens nothing where the command fails", async () => {
    const exec = "echo nowhere > $SEQBUS_ANSWER_FILES; echo why >&2; exit 3";
    await using _ = await startServe("serve.fails", exec);
    expect(await rejectionOf(bus.call("serve.fails"))).toMatchObject({ code: "EXIT_3" });
  });

  test("answers seqbus call with a file, which saves it", async () => {
    directory.write("letter", "dear reader");
    const exec = 'test "$(cat)" = letter && echo letter > $SEQBUS_ANSWER_FILES';
    await using _ = await startServe("serve.letters", exec);
    const result = await broker.run(["call", "serve.letters", "letter", "--save-fds", saved]);
    expect(result).toMatchObject({ exitCode: 0, stdout: "\n" });
    expect(savedText("000001-0")).toBe("dear reader");
  });

  test("leaves no fd behind, however a call ends", async () => {
    directory.write("letter", "dear reader");
    const exec = `
      case $(cat) in
        answer) echo letter > $SEQBUS_ANSWER_FILES ;;
        missing) printf 'letter\\nnowhere\\n' > $SEQBUS_ANSWER_FILES ;;
        fail) exit 3 ;;
        slow) echo letter > $SEQBUS_ANSWER_FILES; sleep 60 ;;
      esac`;
    await using serve = await startServe("serve.leaks", exec);
    const count = () => filesOf(serve).length;
    using memory = Memory.from("file").seal();
    const call = async (data: string) => {
      using answer = await bus.call("serve.leaks", data, { fds: [memory] });
      expect(answer.fds.length).toBe(1);
    };
    const failed = async (data: string, timeoutMs = 30_000) => {
      await rejectionOf(bus.call("serve.leaks", data, { fds: [memory], timeoutMs }));
    };
    for (let round = 0; round < 5; round += 1) {
      await call("answer");
      await failed("missing");
      await failed("fail");
      await failed("slow", 50);
    }
    await eventually(
      () => count() === 0,
      () => `${filesOf(serve)} are left`,
    );
  });
});

/** What a process has open of what commands get and give. */
function filesOf({ pid }: CliProcess): string[] {
  const targets = readdirSync(`/proc/${pid}/fd`).map((fd) => targetOf(`/proc/${pid}/fd/${fd}`));
  return targets.filter((target) => /memfd:|letter|pipe:/.test(target));
}

function targetOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    // Closed meanwhile.
    return "";
  }
}
