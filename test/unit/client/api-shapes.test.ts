/** The types that programs see, where tsc must accept what is right and refuse what is wrong. */

import { expectTypeOf, test } from "bun:test";
import type { Stats } from "node:fs";
import type { BunFile } from "bun";
import {
  type Bus,
  type FoundFdKind,
  type MappedBytes,
  Memory,
  type ReceivedFd,
  type ReceivedFds,
} from "../../../src/client/index.ts";

test("received fds have these shapes", () => {
  expectTypeOf<ReceivedFds["at"]>().returns.toEqualTypeOf<ReceivedFd | undefined>();
  expectTypeOf<ReceivedFds["take"]>().returns.toEqualTypeOf<ReceivedFd>();
  expectTypeOf<ReceivedFds>().toExtend<Iterable<ReceivedFd>>();
  expectTypeOf<ReceivedFd>().toExtend<Disposable>();
  expectTypeOf<ReceivedFd["take"]>().returns.toEqualTypeOf<number>();
  expectTypeOf<ReceivedFd["dup"]>().returns.toEqualTypeOf<ReceivedFd>();
  expectTypeOf<ReceivedFd["kind"]>().toEqualTypeOf<FoundFdKind>();
  expectTypeOf<ReceivedFd["stat"]>().returns.toEqualTypeOf<Promise<Stats>>();
  expectTypeOf<ReceivedFd["bytes"]>().returns.toEqualTypeOf<Promise<Uint8Array>>();
  expectTypeOf<ReceivedFd["text"]>().returns.toEqualTypeOf<Promise<string>>();
  expectTypeOf<ReceivedFd["file"]>().returns.toEqualTypeOf<BunFile>();
  expectTypeOf<ReceivedFd["stream"]>().returns.toEqualTypeOf<ReadableStream<Uint8Array>>();
});

test("memory and received fds can be published as files", () => {
  const use = (bus: Bus, memory: Memory, file: ReceivedFd, fds: ReceivedFds) => {
    bus.publish("a", memory, { fds: [memory, file, 5, ...fds] });
    // @ts-expect-error a path is no open file
    bus.publish("a", "x", { fds: ["/etc/hostname"] });
    // @ts-expect-error it may have been taken: ask before it is passed on
    bus.publish("a", "x", { fds: [fds.at(0)] });
  };
  expectTypeOf(use).toBeFunction();
});

test("memory is made of what has bytes", () => {
  expectTypeOf(Memory.map).returns.toEqualTypeOf<MappedBytes>();
  expectTypeOf<Memory["seal"]>().returns.toExtend<Memory>();
  const use = async (blob: Blob) => {
    Memory.from(["text", new Uint8Array(1), new DataView(new ArrayBuffer(1))]).close();
    (await Memory.fill(blob, { bytesMax: 1 })).close();
    (await Memory.fill(Bun.file("a").stream())).close();
    // @ts-expect-error a Blob gives its bytes later, so fill() takes it
    Memory.from(blob);
    // @ts-expect-error a number is no bytes
    Memory.from(5);
  };
  expectTypeOf(use).toBeFunction();
});
