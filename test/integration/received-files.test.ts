/** Files through a real broker, used in every way that the library offers; none stays open. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readlinkSync } from "node:fs";
import { type Bus, connect, Memory, type Message } from "../../src/client/index.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { eventually } from "../support/eventually.ts";
import { openPipe } from "../support/pipes.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { connectAs } from "../support/spawned-client.ts";

let broker: SpawnedBroker;
let bus: Bus;

beforeAll(async () => {
  broker = await spawnBroker();
  bus = await connect({ path: broker.path });
});

afterAll(async () => {
  await bus.close();
  await broker[Symbol.asyncDispose]();
});

/** Open memfds and pipes of this process. */
function countFiles(): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return /^(\/memfd:|pipe:)/.test(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      return false;
    }
  }).length;
}

/** What a program may do with a message that brings sealed memory and a pipe. */
const USES: Record<string, (message: Message) => unknown> = {
  "leaves all of it": () => {},
  "looks at kinds": ({ fds }) => {
    expect([...fds].map(({ kind }) => kind)).toEqual(["memfd-sealed", "pipe"]);
  },
  "reads both": async ({ fds }) => {
    expect(await Promise.all([...fds].map((file) => file.text()))).toEqual(["memory", "pipe"]);
  },
  "reads both and does not wait": ({ fds }) => {
    for (const file of fds) file.text().catch(() => {});
  },
  "streams both": async ({ fds }) => {
    const texts = [...fds].map((file) => new Response(file.stream()).text());
    expect(await Promise.all(texts)).toEqual(["memory", "pipe"]);
  },
  "cancels its streams": async ({ fds }) => {
    for (const file of fds) await file.stream().cancel();
  },
  "maps the memory": ({ fds }) => {
    using file = fds.take(0);
    using mapped = Memory.map(file);
    expect(new TextDecoder().decode(mapped.bytes)).toBe("memory");
  },
  "takes one for good": ({ fds }) => closeFd(fds.at(0)?.take() ?? -1),
  "copies one": ({ fds }) => {
    using _copy = fds.at(1)?.dup();
  },
  "passes them on": async ({ fds }) => {
    const onward = await bus.subscribe("onward");
    bus.publish("onward", "again", { fds: [...fds] });
    const { value } = await onward.next();
    expect(await value.fds.at(0)?.text()).toBe("memory");
    await onward.close();
  },
};

describe("a program that gets files with each message", () => {
  test.each(Object.keys(USES))("and %s is left with none", async (name) => {
    const messages = await bus.subscribe("files");
    const atBroker = await broker.fdsAtRest();
    const before = countFiles();
    for (let round = 0; round < 20; round += 1) {
      using memory = Memory.from("memory").seal();
      const { reader, writer } = openPipe();
      await Bun.write(Bun.file(writer), "pipe");
      closeFd(writer);
      bus.publish("files", { round }, { fds: [memory, reader] });
      closeFd(reader);
      const { value } = await messages.next();
      expect(value.data).toEqual({ round });
      await USES[name]?.(value);
    }
    await messages.close();
    await eventually(
      () => countFiles() <= before,
      () => `${before} files are open, ${countFiles()} still are`,
    );
    await broker.expectFds(atBroker);
  });
});

test("a file is read whole by each of several processes and subscriptions", async () => {
  await using other = await connectAs(process.getuid?.() ?? 0, broker.path);
  await other.call("subscribe", "shared.file");
  const first = await bus.subscribe("shared.file");
  const second = await bus.subscribe("shared.*");
  const text = "0123456789".repeat(30_000);
  using memory = Memory.from(text).seal();
  bus.publish("shared.file", "x", { fds: [memory] });
  const own = await Promise.all([first.next(), second.next()]);
  const read = own.map(({ value }) => value.fds.at(0)?.text());
  const [theirs] = await other.call("messages", 1);
  expect(await Promise.all(read)).toEqual([text, text]);
  expect(theirs?.fdTexts).toEqual([text]);
  await Promise.all([first.close(), second.close()]);
});
