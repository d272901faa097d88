import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  write,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AuditFile } from "../../../../src/cli/audit/audit-file.ts";
import { eventually } from "../../../support/eventually.ts";

let directory: string;
let reports: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "seqbus-audit-"));
  reports = [];
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function path(name: string): string {
  return join(directory, name);
}

function open(name: string): AuditFile {
  return new AuditFile(path(name), (message) => reports.push(message));
}

function read(name: string): string {
  return readFileSync(path(name), "utf8");
}

/** The fds of this process that files of the directory are open under. */
function openFds(): string[] {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(directory);
    } catch {
      // The one that reads /proc is gone by now.
      return false;
    }
  });
}

/** A FIFO with a reader that reads when it is told to. */
class Fifo implements Disposable {
  readonly #path: string;
  readonly #fd: number;

  constructor(name: string) {
    this.#path = path(name);
    const made = Bun.spawnSync(["mkfifo", path(name)]);
    if (!made.success) throw new Error("There is no mkfifo");
    this.#fd = openSync(path(name), constants.O_RDONLY | constants.O_NONBLOCK);
  }

  /** All that is in it now. */
  read(): string {
    const chunk = Buffer.alloc(128 * 1024);
    try {
      return chunk.toString("utf8", 0, readSync(this.#fd, chunk));
    } catch {
      return "";
    }
  }

  /** Makes it so full that writers are told EAGAIN. @returns what it is full of */
  async fill(): Promise<string> {
    const writer = openSync(this.#path, constants.O_WRONLY | constants.O_NONBLOCK);
    const filler = Buffer.alloc(4_096, "f");
    let length = 0;
    while (await isTaken(writer, filler)) length += filler.length;
    closeSync(writer);
    return "f".repeat(length);
  }

  /** Resolves when writes that were begun before are over: the runtime's threads work in order. */
  async othersHaveTried(): Promise<void> {
    const writer = openSync(this.#path, constants.O_WRONLY | constants.O_NONBLOCK);
    for (let tries = 0; tries < 20; tries += 1) {
      expect(await isTaken(writer, Buffer.alloc(4_096))).toBe(false);
    }
    closeSync(writer);
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

function isTaken(fd: number, bytes: Buffer): Promise<boolean> {
  return new Promise((resolve) => write(fd, bytes, (error) => resolve(error === null)));
}

describe("AuditFile", () => {
  test("appends lines in order, also many at once", async () => {
    writeFileSync(path("log"), "before\n");
    const file = open("log");
    const lines = Array.from({ length: 1_000 }, (_, index) => `line ${index} é`);
    for (const line of lines) expect(file.offer(line)).toBe(true);
    await file.drained();
    expect(read("log")).toBe(`before\n${lines.join("\n")}\n`);
    file.close();
  });

  test("makes a file that others cannot read", () => {
    open("log").close();
    expect(statSync(path("log")).mode & 0o777).toBe(0o640);
  });

  test("throws where it cannot be opened", () => {
    expect(() => open("missing/log")).toThrow(expect.objectContaining({ code: "ENOENT" }));
    mkdirSync(path("directory"));
    expect(() => open("directory")).toThrow(
      expect.objectContaining({ name: "SyscallError", code: "EISDIR", path: path("directory") }),
    );
  });

  test("keeps no fd after close()", async () => {
    const file = open("log");
    file.offer("line");
    await file.drained();
    expect(openFds()).toHaveLength(1);
    file.close();
    await eventually(() => openFds().length === 0, "its fd is closed");
    file.close();
    file.reopen();
    expect(file.offer("late")).toBe(false);
    expect(read("log")).toBe("line\n");
  });
});

describe("AuditFile.reopen()", () => {
  test("goes on in a new file after a rotation", async () => {
    const file = open("log");
    file.offer("old");
    await file.drained();
    renameSync(path("log"), path("log.1"));
    file.reopen();
    file.offer("new");
    await file.drained();
    expect(read("log.1")).toBe("old\n");
    expect(read("log")).toBe("new\n");
    file.close();
  });

  test("loses nothing while lines are on their way", async () => {
    const file = open("log");
    for (let index = 0; index < 100; index += 1) {
      file.offer(`line ${index}`);
      if (index === 50) {
        renameSync(path("log"), path("log.1"));
        file.reopen();
        file.reopen();
      }
      if (index % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await file.drained();
    const lines = `${read("log.1")}${read("log")}`.trimEnd().split("\n");
    expect(lines).toEqual(Array.from({ length: 100 }, (_, index) => `line ${index}`));
    file.close();
  });

  test("stays with the old file where there can be no new one, and says so", async () => {
    mkdirSync(path("logs"));
    const file = open("logs/log");
    renameSync(path("logs"), path("moved"));
    file.reopen();
    file.offer("line");
    await file.drained();
    expect(read("moved/log")).toBe("line\n");
    expect(reports).toEqual([expect.stringContaining("the old file stays in use")]);
    mkdirSync(path("logs"));
    file.reopen();
    file.reopen();
    file.offer("next");
    await file.drained();
    expect(read("logs/log")).toBe("next\n");
    await eventually(() => openFds().length === 1, "no fd but that of the new file");
    file.close();
  });
});

describe("a file that cannot be written", () => {
  test("keeps lines until it can, and says so once", async () => {
    const file = new AuditFile("/dev/full", (message) => reports.push(message));
    for (let index = 0; index < 10; index += 1) expect(file.offer(`line ${index}`)).toBe(true);
    await eventually(() => reports.length > 0, "the failure is reported");
    expect(reports).toEqual([expect.stringContaining("ENOSPC")]);
    file.close();
  });

  test("goes on when somebody reads again, and says nothing of it", async () => {
    using fifo = new Fifo("log");
    const file = open("log");
    const filler = await fifo.fill();
    const lines = Array.from({ length: 12 }, (_, index) => `${index} ${"x".repeat(9_000)}`);
    for (const line of lines) expect(file.offer(line)).toBe(true);
    await fifo.othersHaveTried();
    const text = `${filler}${lines.join("\n")}\n`;
    let seen = "";
    await eventually(
      () => {
        seen += fifo.read();
        return seen.length === text.length;
      },
      () => `${seen.length} of ${text.length} bytes come out`,
    );
    expect(seen).toBe(text);
    expect(reports).toEqual([]);
    file.close();
  });

  test("takes no more than it may hold", async () => {
    using fifo = new Fifo("log");
    const file = open("log");
    let taken = 0;
    while (file.offer("x".repeat(9_999))) taken += 1;
    expect(taken).toBe(104);
    rmSync(path("log"));
    file.reopen();
    await file.drained();
    expect(fifo.read().length + read("log").length).toBeGreaterThanOrEqual(taken * 10_000);
    expect(file.offer("more")).toBe(true);
    await file.drained();
    expect(read("log").endsWith("\nmore\n")).toBe(true);
    file.close();
  });

  test("begins a new file with a whole line where the old one has half of it", async () => {
    using fifo = new Fifo("log");
    const file = open("log");
    const lines = Array.from({ length: 20 }, (_, index) => `${index} ${"x".repeat(9_000)}`);
    for (const line of lines) file.offer(line);
    let old = "";
    await eventually(() => {
      old += fifo.read();
      return old.length > 64 * 1024;
    }, "the pipe was full once");
    renameSync(path("log"), path("log.1"));
    file.reopen();
    await file.drained();
    old += fifo.read();
    const whole = old.slice(0, old.lastIndexOf("\n") + 1);
    expect(`${whole}${read("log")}`).toBe(`${lines.join("\n")}\n`);
    file.close();
  });

  test("of which nobody is the reader any more goes on in a new file", async () => {
    const fifo = new Fifo("log");
    const file = open("log");
    fifo[Symbol.dispose]();
    file.offer("line");
    await eventually(() => reports.length > 0, "the failure is reported");
    expect(reports).toEqual([expect.stringContaining("EPIPE")]);
    rmSync(path("log"));
    file.reopen();
    await file.drained();
    expect(read("log")).toBe("line\n");
    expect(reports.slice(1)).toEqual([`Can write audit log "${path("log")}" again`]);
    expect(existsSync(path("log"))).toBe(true);
    file.close();
  });
});
