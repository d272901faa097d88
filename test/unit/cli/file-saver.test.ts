import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, renameSync, symlinkSync, writeSync } from "node:fs";
import { FileSaver } from "../../../src/cli/file-saver.ts";
import { type ReceivedFd, ReceivedFds } from "../../../src/client/received-fds.ts";
import { closeFd } from "../../../src/ffi/owned-fd.ts";
import { TemporaryDirectory } from "../../support/cli-process.ts";
import { openPipe } from "../../support/pipes.ts";
import { countingBytes, memoryOf } from "../../support/test-memory.ts";

let directory: TemporaryDirectory;

beforeEach(() => {
  directory = new TemporaryDirectory();
});
afterEach(() => directory[Symbol.dispose]());

function receivedFd(fd: number): ReceivedFd {
  return new ReceivedFds([fd]).take(0);
}

describe("FileSaver.save()", () => {
  test("copies every byte of a file", async () => {
    using saver = new FileSaver(directory.path, { bytesMax: 1_000_000, idleMs: 60_000 });
    const bytes = countingBytes(1_000_000);
    saver.nextMessage();
    const outcome = await saver.save(receivedFd(memoryOf(bytes).release()), 7);
    expect(outcome).toEqual({ saved: "000001-7", savedBytes: 1_000_000 });
    expect(readFileSync(directory.file("000001-7")).equals(bytes)).toBe(true);
  });

  test("gives up a pipe that gives nothing, and keeps no part of it", async () => {
    using saver = new FileSaver(directory.path, { bytesMax: 100, idleMs: 1 });
    const { reader, writer } = openPipe();
    writeSync(writer, "a part");
    const outcome = await saver.save(receivedFd(reader), 0);
    expect(outcome).toEqual({ notSaved: "Cannot read received file: nothing came for 1 ms" });
    expect(readdirSync(directory.path)).toEqual([]);
    closeFd(writer);
  });

  test("gives up a pipe that never ends, at its limit", async () => {
    using saver = new FileSaver(directory.path, { bytesMax: 5, idleMs: 60_000 });
    const { reader, writer } = openPipe();
    writeSync(writer, "a part");
    const outcome = await saver.save(receivedFd(reader), 0);
    expect(outcome).toEqual({ notSaved: "Cannot read received file: it has more than 5 bytes" });
    expect(readdirSync(directory.path)).toEqual([]);
    closeFd(writer);
  });

  test("stays in its directory when the path comes to lead elsewhere", async () => {
    const [path, moved, elsewhere] = ["here", "moved", "elsewhere"].map((name) =>
      directory.file(name),
    ) as [string, string, string];
    using saver = new FileSaver(path, { bytesMax: 100, idleMs: 60_000 });
    using _other = new FileSaver(elsewhere, { bytesMax: 100, idleMs: 60_000 });
    renameSync(path, moved);
    symlinkSync(elsewhere, path);
    saver.nextMessage();
    await saver.save(receivedFd(memoryOf(countingBytes(5)).release()), 0);
    expect(readdirSync(moved)).toEqual(["000001-0"]);
    expect(readdirSync(elsewhere)).toEqual([]);
  });

  test("counts on from the largest number that is there, whatever else is", async () => {
    for (const name of ["000009-3", "1234567-0", "9-9", "99999999999999999-0", "000010", "x-1"]) {
      directory.write(name, "");
    }
    using saver = new FileSaver(directory.path, { bytesMax: 100, idleMs: 60_000 });
    saver.nextMessage();
    const outcome = await saver.save(receivedFd(memoryOf(countingBytes(5)).release()), 0);
    expect(outcome).toMatchObject({ saved: "1234568-0" });
  });
});
