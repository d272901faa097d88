/** Received fds as objects: what they read, who closes them, and that it happens once. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RECEIVED_PIECE_BYTES } from "../../../src/client/limits.ts";
import { type ReceivedFd, ReceivedFds } from "../../../src/client/received-fds.ts";
import { closeFd, duplicateFd } from "../../../src/ffi/owned-fd.ts";
import { eventually } from "../../support/eventually.ts";
import { OwnFds } from "../../support/open-files.ts";
import { openPipe } from "../../support/pipes.ts";
import { readText, TestFiles } from "../../support/test-files.ts";
import { countingBytes } from "../../support/test-memory.ts";
import { isOpenFd } from "./simulated-transport.ts";

let directory: string;
/** All but those of Bun's own event loops, which come and go. */
let ownFds: OwnFds;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "seqbus-test-"));
  ownFds = new OwnFds(/^(?!anon_inode:)/);
});

/** A read that is under way closes its fd a little later, so this waits. */
afterEach(async () => {
  rmSync(directory, { recursive: true });
  await eventually(
    () => ownFds.count === 0,
    () => `${ownFds.count} fds are left`,
  );
});

/** Fds of a message, each a memfd with its text. */
function received(...texts: string[]): { fds: ReceivedFds; numbers: readonly number[] } {
  using files = new TestFiles(texts);
  const numbers = files.fds.map(duplicateFd);
  return { fds: new ReceivedFds([...numbers]), numbers };
}

/** One fd, taken. @param fd handed over */
function receivedFd(fd: number): ReceivedFd {
  return new ReceivedFds([fd]).take(0);
}

/** A regular file, open for reading at a position that is not its start. */
function openTestFile(bytes: Uint8Array, position = 5): number {
  const path = join(directory, "file");
  const writer = openSync(path, "w");
  writeSync(writer, bytes);
  closeSync(writer);
  const fd = openSync(path, "r");
  if (position > 0) readSync(fd, new Uint8Array(position), 0, position, null);
  return fd;
}

async function thrownBy(work: () => unknown): Promise<unknown> {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

describe("ReceivedFds.at()", () => {
  test("gives the same object each time, which the message closes", () => {
    const { fds, numbers } = received("one", "two");
    const file = fds.at(1);
    expect(file).toBe(fds.at(1) as ReceivedFd);
    expect(file).toMatchObject({ fd: numbers[1], isOpen: true, isOfMessage: true });
    expect(fds.at(2)).toBeUndefined();
    fds.close();
    expect(file).toMatchObject({ isOpen: false });
    expect(fds.at(1)).toBeUndefined();
    expect(numbers.map(isOpenFd)).toEqual([false, false]);
  });

  test("gives nothing that was taken or closed", () => {
    const { fds } = received("one", "two", "three");
    using _taken = fds.take(0);
    fds.at(1)?.close();
    closeFd(fds.at(2)?.take() ?? -1);
    expect([0, 1, 2].map((index) => fds.at(index))).toEqual([undefined, undefined, undefined]);
    expect(fds).toHaveLength(3);
    fds.close();
  });

  test("goes by iteration over those that are left", () => {
    using fds = received("one", "two", "three").fds;
    using _taken = fds.take(1);
    expect([...fds].map(({ fd }) => readText(fd))).toEqual(["one", "three"]);
  });

  test("of a message that was dropped stays open as long as the object is used", async () => {
    const file = received("kept").fds.at(0) as ReceivedFd;
    for (let round = 0; round < 5; round += 1) {
      Bun.gc(true);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await file.text()).toBe("kept");
    file.close();
  });
});

describe("ReceivedFds.take()", () => {
  test("takes out the very object that at() gave, once", () => {
    const { fds, numbers } = received("one");
    const file = fds.at(0) as ReceivedFd;
    expect(fds.take(0)).toBe(file);
    expect(file.isOfMessage).toBe(false);
    fds.close();
    expect(readText(file.fd)).toBe("one");
    expect(() => fds.take(0)).toThrow("it was taken or closed");
    file.close();
    expect(isOpenFd(numbers[0] as number)).toBe(false);
  });
});

describe("ReceivedFds.duplicate()", () => {
  test("copies what is a number still, and what is an object already", () => {
    using fds = received("one", "two").fds;
    fds.at(0);
    using copies = fds.duplicate();
    expect([...copies].map(({ fd }) => readText(fd))).toEqual(["one", "two"]);
  });
});

describe("ReceivedFd.take()", () => {
  test("gives the number away, which nobody else closes", () => {
    const { fds, numbers } = received("one");
    const number = fds.at(0)?.take() ?? -1;
    expect(number).toBe(numbers[0] as number);
    fds.close();
    expect(readText(number)).toBe("one");
    closeFd(number);
  });

  test("throws DATA_FDS_TAKEN the second time, as everything else does then", async () => {
    using files = new TestFiles(["one"]);
    const file = receivedFd(duplicateFd(files.fds[0] as number));
    closeFd(file.take());
    const uses = [
      () => file.fd,
      () => file.take(),
      () => file.dup(),
      () => file.stat(),
      () => file.text(),
      () => file.stream(),
      () => file.file(),
    ];
    for (const use of uses) expect(await thrownBy(use)).toMatchObject({ code: "DATA_FDS_TAKEN" });
    file.close();
  });
});

describe("ReceivedFd.dup()", () => {
  test("is a second fd that outlives the first and its message", async () => {
    const { fds } = received("one");
    using second = fds.at(0)?.dup();
    fds.close();
    expect(await second?.text()).toBe("one");
  });
});

describe("ReceivedFd.kind", () => {
  test("names the kind of file, and throws once it is closed", () => {
    const { reader, writer } = openPipe();
    using fds = new ReceivedFds([openTestFile(countingBytes(1)), reader, writer]);
    expect([...fds].map(({ kind }) => kind)).toEqual(["file-read-only", "pipe", "pipe"]);
    const file = fds.take(0);
    file.close();
    expect(() => file.kind).toThrow("taken or closed");
  });
});

describe("ReceivedFd.stat()", () => {
  test("tells size and type", async () => {
    using file = receivedFd(openTestFile(countingBytes(1234)));
    const stats = await file.stat();
    expect(stats.size).toBe(1234);
    expect(stats.isFile()).toBe(true);
  });
});

describe("ReceivedFd.bytes()", () => {
  test.each([0, 1, RECEIVED_PIECE_BYTES, RECEIVED_PIECE_BYTES + 1, 1_000_000])(
    "reads %d bytes of a file from its start, twice, and leaves its position alone",
    async (byteLength) => {
      const bytes = countingBytes(byteLength);
      using file = receivedFd(openTestFile(bytes, Math.min(byteLength, 5)));
      expect(Bun.hash(await file.bytes())).toBe(Bun.hash(bytes));
      expect(Bun.hash(await file.bytes())).toBe(Bun.hash(bytes));
      const next = new Uint8Array(1);
      const count = readSync(file.fd, next, 0, 1, null);
      expect([...next.subarray(0, count)]).toEqual([...bytes.subarray(5, 6)]);
    },
  );

  test("reads a pipe until its end", async () => {
    const { reader, writer } = openPipe();
    using file = receivedFd(reader);
    const text = file.text();
    writeSync(writer, "first ");
    await new Promise((resolve) => setImmediate(resolve));
    writeSync(writer, "second");
    closeFd(writer);
    expect(await text).toBe("first second");
  });

  test("refuses more than bytesMax, of a file and of a pipe that never ends", async () => {
    using file = receivedFd(openTestFile(countingBytes(100)));
    expect(await file.bytes({ bytesMax: 100 })).toHaveLength(100);
    const { reader, writer } = openPipe();
    using pipe = receivedFd(reader);
    writeSync(writer, countingBytes(100));
    for (const each of [file, pipe]) {
      expect(await thrownBy(() => each.bytes({ bytesMax: 99 }))).toMatchObject({
        name: "LimitError",
        code: "LIMIT_FILE_BYTES",
        limit: 99,
      });
    }
    closeFd(writer);
  });

  test.each([
    ["a directory", () => openSync(directory, "r"), "EISDIR"],
    ["a file open for writing", () => openSync(join(directory, "file"), "w"), "EBADF"],
  ])("throws a SyscallError for %s", async (_what, open, code) => {
    using file = receivedFd(open());
    expect(await thrownBy(() => file.bytes())).toMatchObject({ name: "SyscallError", code });
    expect(file.isOpen).toBe(true);
  });

  test("holds the fd while only its promise is kept", async () => {
    const bytes = countingBytes(10_000_000);
    let isDone = false;
    const reading = (() => receivedFd(openTestFile(bytes)).bytes())().finally(() => {
      isDone = true;
    });
    while (!isDone) {
      Bun.gc(true);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(Bun.hash(await reading)).toBe(Bun.hash(bytes));
    await collected();
  });

  test("throws DATA_FDS_TAKEN where the message closes it meanwhile, and never reads another", async () => {
    const fds = new ReceivedFds([openTestFile(countingBytes(3_000_000))]);
    const reading = thrownBy(() => fds.at(0)?.bytes());
    fds.close();
    expect(await reading).toMatchObject({ code: "DATA_FDS_TAKEN" });
  });
});

/** Waits for the garbage collector to close what was lost. */
async function collected(): Promise<void> {
  await eventually(
    () => {
      Bun.gc(true);
      return ownFds.count === 0;
    },
    () => `all fds are closed, but for ${ownFds.count}`,
  );
}

describe("ReceivedFd.stream()", () => {
  async function join(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
    return await new Response(stream).bytes();
  }

  test("takes the fd, reads a file from its start, and closes it at the end", async () => {
    const bytes = countingBytes(500_000);
    const fd = openTestFile(bytes);
    const file = receivedFd(fd);
    const stream = file.stream();
    expect(file.isOpen).toBe(false);
    expect(isOpenFd(fd)).toBe(true);
    expect(Bun.hash(await join(stream))).toBe(Bun.hash(bytes));
    expect(isOpenFd(fd)).toBe(false);
  });

  test("survives its message", async () => {
    const { fds } = received("one");
    const stream = (fds.at(0) as ReceivedFd).stream();
    fds.close();
    expect(new TextDecoder().decode(await join(stream))).toBe("one");
  });

  test("reads a pipe as it is written", async () => {
    const { reader, writer } = openPipe();
    const pieces = receivedFd(reader).stream().getReader();
    for (const text of ["first", "second"]) {
      writeSync(writer, text);
      expect(new TextDecoder().decode((await pieces.read()).value)).toBe(text);
    }
    closeFd(writer);
    expect((await pieces.read()).done).toBe(true);
    expect(isOpenFd(reader)).toBe(false);
  });

  test.each([0, 1])("closes the fd at cancel(), while %d reads wait", async (waiting) => {
    const { reader, writer } = openPipe();
    const pieces = receivedFd(reader).stream().getReader();
    writeSync(writer, "first");
    expect((await pieces.read()).done).toBe(false);
    const second = waiting > 0 ? pieces.read() : undefined;
    await new Promise((resolve) => setImmediate(resolve));
    await pieces.cancel();
    if (second !== undefined) expect((await second).done).toBe(true);
    expect(isOpenFd(reader)).toBe(false);
    closeFd(writer);
  });

  test("closes the fd at a cancel() before anything was read", async () => {
    const { reader, writer } = openPipe();
    const pieces = receivedFd(reader).stream().getReader();
    const first = pieces.read();
    await pieces.cancel();
    expect((await first).done).toBe(true);
    await eventually(() => !isOpenFd(reader), "the fd is closed");
    closeFd(writer);
  });

  test("fails as bytes() does, and closes the fd", async () => {
    const fd = openSync(directory, "r");
    const error = await thrownBy(() => join(receivedFd(fd).stream()));
    expect(error).toMatchObject({ name: "SyscallError", code: "EISDIR" });
    expect(isOpenFd(fd)).toBe(false);
  });

  test("that the program drops is closed by the garbage collector", async () => {
    (() => {
      for (let count = 0; count < 10; count += 1) received("one").fds.take(0).stream();
    })();
    expect(ownFds.count).toBeGreaterThan(0);
    await collected();
  });
});

describe("ReceivedFd.file()", () => {
  test("is a Bun file that does not own the fd, and reads from its position", async () => {
    using file = receivedFd(openTestFile(new TextEncoder().encode("0123456789"), 3));
    const bunFile = file.file();
    expect(bunFile.size).toBe(10);
    expect(await bunFile.text()).toBe("3456789");
    expect(await bunFile.text()).toBe("");
    expect(await file.text()).toBe("0123456789");
    expect(file.isOpen).toBe(true);
    expect(isOpenFd(file.fd)).toBe(true);
  });

  test("keeps the garbage collector from closing what Bun may be reading", async () => {
    const { reader, writer } = openPipe();
    const text = (() => receivedFd(reader).file().text())();
    for (let round = 0; round < 5; round += 1) {
      Bun.gc(true);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(isOpenFd(reader)).toBe(true);
    writeSync(writer, "late");
    closeFd(writer);
    expect(await text).toBe("late");
    closeFd(reader);
  });
});

describe("fds that the program loses", () => {
  test("are closed by the garbage collector: untaken, asked for, taken and dup'ed", async () => {
    (() => {
      for (let count = 0; count < 10; count += 1) {
        const { fds } = received("untaken", "asked for", "taken", "asked for and taken");
        fds.at(1)?.dup();
        fds.take(2);
        fds.at(3);
        fds.take(3);
      }
    })();
    expect(ownFds.count).toBeGreaterThan(0);
    await collected();
  });
});
