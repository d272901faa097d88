/** A log that is full, gone, stopped or moved away never holds up the broker, and loses no count. */

import { describe, expect, test } from "bun:test";
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { runCli, SEQBUS, TemporaryDirectory } from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { mapOf, RawClient } from "../support/raw-client.ts";
import { connectAs } from "../support/spawned-client.ts";
import { AuditBroker, type AuditLine, countEvents, parseAuditLines } from "./audit-broker.ts";

const isRoot = process.geteuid?.() === 0;
const NOT_ROOT = "only root can run clients as other users";

/** Nobody may do anything. */
const POLICY = '[[rule]]\nid = "nothing"\ntopics = [">"]\nany = true\ndeny = ["publish"]\n';

/** Long, so that few lines fill a pipe. */
const PATTERN = `denied.${"x".repeat(200)}`;

/** Has requests denied. The broker answers each, so it serves. */
async function denyOwn(broker: AuditBroker, count: number): Promise<void> {
  using client = await RawClient.open(broker.socket);
  for (let index = 0; index < count; index += 1) {
    const answer = await client.requestFrame(OPCODE.SUBSCRIBE, { pattern: PATTERN });
    expect(mapOf(answer)).toMatchObject({ status: STATUS.REJECTED_BY_POLICY });
  }
}

async function denyAs(uid: number, broker: AuditBroker, count: number): Promise<void> {
  await using client = await connectAs(uid, broker.socket);
  const denials = Array.from({ length: count }, () => client.failureOf("subscribe", PATTERN));
  for (const { code } of await Promise.all(denials)) expect(code).toBe("REJECTED_BY_POLICY");
}

/** Events of a client: its denials, that it came, and that it went. */
const CAME_AND_WENT = 2;

/** A pipe with a name, whose reader reads when it is told to. */
class Pipe implements Disposable {
  readonly writer: number;
  readonly #reader: number;
  #isReaderOpen = true;
  text = "";

  constructor(directory: TemporaryDirectory) {
    const path = directory.file("pipe");
    expect(Bun.spawnSync(["mkfifo", path]).exitCode).toBe(0);
    this.#reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    // Without O_NONBLOCK: that would hold for the broker too, and it must not need it.
    this.writer = openSync(path, constants.O_WRONLY);
    const filler = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    fill(filler);
    closeSync(filler);
  }

  /** Takes out what is in it. */
  read(): void {
    const chunk = Buffer.alloc(128 * 1024);
    try {
      this.text += chunk.toString("latin1", 0, readSync(this.#reader, chunk));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
    }
  }

  closeReader(): void {
    if (this.#isReaderOpen) closeSync(this.#reader);
    this.#isReaderOpen = false;
  }

  [Symbol.dispose](): void {
    this.closeReader();
    closeSync(this.writer);
  }
}

/** Writes empty lines until nothing more goes in. */
function fill(fd: number): void {
  const lines = "\n".repeat(4096);
  try {
    for (;;) writeSync(fd, lines);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EAGAIN" && code !== "ENOSPC") throw error;
  }
}

describe("standard error", () => {
  testUnless(!isRoot, NOT_ROOT, "as a full pipe costs lines, which are counted", async () => {
    using directory = new TemporaryDirectory();
    using pipe = new Pipe(directory);
    const options = { policy: POLICY, audit: "-", stderrFd: pipe.writer };
    await using broker = await AuditBroker.start(options);
    await denyOwn(broker, 100);
    await denyAs(12_345, broker, 100);
    broker.text = () => {
      pipe.read();
      return pipe.text;
    };
    await broker.line("denied");
    await eventually(async () => {
      await denyOwn(broker, 1);
      return broker.lines().some(({ dropped = 0 }) => dropped > 0);
    }, "a line tells what was dropped");
    const before = broker.lines().length;
    expect(await broker.stop()).toBe(0);
    const lines = broker.lines();
    expect(lines.length).toBeGreaterThan(before);
    expect(lines.at(-1)?.event).toBe("stopped");
    const connections = Math.max(...lines.map(({ connection = 0 }) => connection));
    // All but the first two were denied once; and policy-loaded, started, stopped.
    const denials = 200 + connections - 2;
    expect(countEvents(lines)).toBe(denials + connections * CAME_AND_WENT + 3);
  });

  test("as a pipe whose reader has gone ends nothing", async () => {
    using directory = new TemporaryDirectory();
    using pipe = new Pipe(directory);
    const options = { policy: POLICY, audit: "-", stderrFd: pipe.writer };
    await using broker = await AuditBroker.start(options);
    await denyOwn(broker, 3);
    pipe.closeReader();
    await denyOwn(broker, 3);
    expect(await broker.stop()).toBe(0);
  });

  test("as a closed fd ends nothing", async () => {
    const prefix = ["sh", "-c", 'exec "$@" 2>&-', "sh"];
    await using broker = await AuditBroker.start({ policy: POLICY, audit: "-", prefix });
    await denyOwn(broker, 3);
    expect(await broker.stop()).toBe(0);
  });

  test("as a stopped terminal costs lines, which are counted", async () => {
    using directory = new TemporaryDirectory();
    const socket = directory.file("bus.sock");
    let text = "";
    const terminal = new Bun.Terminal({
      data: (_terminal, bytes) => {
        text += new TextDecoder().decode(bytes);
      },
    });
    const words = ["broker", "--socket", socket, "--audit", "-"];
    const child = Bun.spawn([...SEQBUS, ...words], { terminal });
    try {
      await eventually(() => text.includes("listening on"), "the broker listens");
      // Ctrl-S and Ctrl-Q. The terminal echoes neither, so the broker's own lines must tell.
      terminal.write("\u0013");
      await eventually(async () => {
        const before = text;
        await publish(socket);
        return text === before;
      }, "the terminal has stopped");
      terminal.write("\u0011");
      await eventually(async () => {
        await publish(socket);
        return /"dropped":[1-9]/.test(text);
      }, "a line tells what was dropped");
    } finally {
      child.kill("SIGTERM");
      expect(await child.exited).toBe(0);
      terminal.close();
    }
  });
});

async function publish(socket: string): Promise<void> {
  const { exitCode } = await runCli(["pub", "--socket", socket, "a", "data"]);
  expect(exitCode).toBe(0);
}

/** A file system of a few pages. */
class SmallDisk implements Disposable {
  readonly path: string;

  constructor(directory: TemporaryDirectory) {
    this.path = directory.file("disk");
    mkdirSync(this.path);
    const mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs", this.path];
    expect(Bun.spawnSync(mount).exitCode).toBe(0);
  }

  fill(): void {
    const fd = openSync(`${this.path}/filler`, constants.O_WRONLY | constants.O_CREAT);
    fill(fd);
    closeSync(fd);
  }

  makeRoom(): void {
    rmSync(`${this.path}/filler`);
  }

  [Symbol.dispose](): void {
    Bun.spawnSync(["umount", "--lazy", this.path]);
  }
}

function canMount(): boolean {
  if (!isRoot) return false;
  using directory = new TemporaryDirectory();
  const script = `mount -t tmpfs tmpfs ${directory.path} && umount ${directory.path}`;
  return Bun.spawnSync(["sh", "-c", script]).exitCode === 0;
}

describe("a file", () => {
  testUnless(
    !canMount(),
    "only root can mount a tmpfs, where mounting is allowed",
    "on a full disk holds up nothing, and gets every line when there is room",
    async () => {
      using directory = new TemporaryDirectory();
      using disk = new SmallDisk(directory);
      const audit = `${disk.path}/audit.log`;
      await using broker = await AuditBroker.start({ policy: POLICY, audit });
      await broker.line("started");
      disk.fill();
      await denyOwn(broker, 50);
      await broker.process.logged("ENOSPC");
      expect(countEvents(broker.lines())).toBeLessThan(50);
      disk.makeRoom();
      await broker.process.logged("again");
      expect(await broker.stop()).toBe(0);
      expect(countEvents(broker.lines())).toBe(50 + CAME_AND_WENT + 3);
      expect(broker.lines().every(({ dropped }) => dropped === undefined)).toBe(true);
    },
  );

  test("that was moved away is opened anew at SIGHUP, and nothing is lost", async () => {
    await using broker = await AuditBroker.start({ policy: POLICY });
    const old = `${broker.log}.1`;
    await denyOwn(broker, 20);
    renameSync(broker.log, old);
    const denying = denyOwn(broker, 20);
    broker.process.signal("SIGHUP");
    await denying;
    await broker.line("policy-loaded");
    await denyOwn(broker, 20);
    expect(await broker.stop()).toBe(0);
    const rotated = parseAuditLines(readFileSync(old, "utf8"));
    const lines: AuditLine[] = [...rotated, ...broker.lines()];
    expect(broker.lines().some(({ event }) => event === "denied")).toBe(true);
    const denied = lines.filter(({ event }) => event === "denied");
    expect(denied.map(({ connection }) => connection)).toEqual(
      [1, 2, 3].flatMap((connection) => Array.from({ length: 20 }, () => connection)),
    );
  });

  test("is opened anew at SIGHUP also where there is no policy", async () => {
    await using broker = await AuditBroker.start();
    await broker.line("started");
    writeFileSync(broker.log, "");
    renameSync(broker.log, `${broker.log}.1`);
    broker.process.signal("SIGHUP");
    await eventually(() => existsSync(broker.log), "there is a new file");
    expect(await broker.stop()).toBe(0);
    expect(broker.lines().map(({ event }) => event)).toEqual(["stopped"]);
  });

  test("whose directory is gone holds up nothing, and the old file stays in use", async () => {
    using directory = new TemporaryDirectory();
    const logs = directory.file("logs");
    mkdirSync(logs);
    await using broker = await AuditBroker.start({ policy: POLICY, audit: `${logs}/audit.log` });
    renameSync(logs, directory.file("moved"));
    broker.process.signal("SIGHUP");
    await broker.process.logged("the old file stays in use");
    await denyOwn(broker, 3);
    expect(await broker.stop()).toBe(0);
    const moved = readFileSync(directory.file("moved/audit.log"), "utf8");
    expect(parseAuditLines(moved).filter(({ event }) => event === "denied")).toHaveLength(3);
  });
});
