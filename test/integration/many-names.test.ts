/** Programs that make up names as they go: more topics and services than one connection may have. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { eventually } from "../support/eventually.ts";
import { MortalBroker, rejectionOf } from "../support/mortal-broker.ts";

let broker: MortalBroker;

beforeEach(async () => {
  broker = await MortalBroker.start();
});

afterEach(async () => {
  await broker[Symbol.asyncDispose]();
});

describe("more names than a broker has room for", () => {
  const NAMES = Array.from({ length: 9_000 }, (_, index) => `many.n${index}`);

  test("are published on, in one tick, and all arrive in order", async () => {
    const bus = await broker.open();
    const subscriber = await broker.open();
    const seen: string[] = [];
    await subscriber.subscribe("many.>", {
      overflow: "drop-newest",
      onMessage: ({ topic }) => void seen.push(topic),
    });
    for (const name of NAMES) bus.publish(name, "x");
    expect(await bus.flush()).toMatchObject({ published: NAMES.length, dropped: 0, denied: 0 });
    await eventually(() => seen.length === NAMES.length, "all have come");
    expect(seen).toEqual(NAMES);
  });

  test("are called, at once and one after the other", async () => {
    const bus = await broker.open();
    const code = (name: string) => rejectionOf(bus.call(name)).then((error) => codeOf(error));
    expect(new Set(await Promise.all(NAMES.map(code)))).toEqual(new Set(["REJECTED_NO_SERVICE"]));
    const server = await broker.open();
    await server.serve("many.n8999", () => "here");
    for (const name of NAMES.slice(0, -1)) expect(await code(name)).toBe("REJECTED_NO_SERVICE");
    expect((await bus.call("many.n8999")).data).toBe("here");
  });

  test("are watched one after the other", async () => {
    const bus = await broker.open();
    // Each is given back, so this is about names and not about how many are watched.
    for (const name of NAMES.slice(0, 4_100)) {
      await using watch = await bus.watch(name);
      expect(watch.current.count).toBe(0);
    }
  });

  test("make do with what the policy leaves a user", async () => {
    const rule = '[[rule]]\nid = "all"\nallow = ["publish", "call"]\ntopics = [">"]\nany = true\n';
    const policy = `${rule}\n[limits]\ntopics = 10\n`;
    await broker.restart({ policy });
    const bus = await broker.open();
    for (const name of NAMES.slice(0, 200)) bus.publish(name, "x");
    expect(await bus.flush()).toMatchObject({ published: 200, denied: 0 });
    const code = (name: string) => rejectionOf(bus.call(name)).then((error) => codeOf(error));
    const codes = await Promise.all(NAMES.slice(0, 200).map(code));
    expect(new Set(codes)).toEqual(new Set(["REJECTED_NO_SERVICE"]));
  });
});

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : error;
}
