/** A broker that is killed while a call is in each state that a call can be in. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Bus } from "../../src/client/bus.ts";
import type { Message } from "../../src/client/message.ts";
import { eventually } from "../support/eventually.ts";
import { isAgain, isGone, MortalBroker, rejectionOf } from "../support/mortal-broker.ts";
import { TestFiles } from "../support/test-files.ts";
import { CALL_STATES, type CallState, GatedService } from "./call-states-fixture.ts";

let broker: MortalBroker;

beforeEach(async () => {
  broker = await MortalBroker.start();
});

afterEach(async () => {
  await broker[Symbol.asyncDispose]();
});

async function play(
  set: CallState[2],
  make: (bus: Bus) => Promise<unknown>,
): Promise<{ result: unknown; seen: unknown[] }> {
  const caller = await broker.open();
  const service = new GatedService(await broker.open());
  await service.serve();
  let result: Promise<unknown> = Promise.resolve();
  const call = () => {
    result = make(caller).catch((error: unknown) => error);
  };
  await set({ broker, caller, service, call });
  await broker.kill();
  await isGone(caller);
  service.open();
  await broker.start();
  return { result: await result, seen: service.seen.filter((data) => data !== "first") };
}

describe("a broker that is killed while a call", () => {
  test.each(CALL_STATES)("%s: an idempotent one is answered by the next", async (_, asked, set) => {
    const isLost = asked !== "is never asked";
    const { result, seen } = await play(set, (bus) => bus.call("a.b", "x", { idempotent: true }));
    expect((result as Message).data).toBe("answer to x");
    expect(seen.length).toBeGreaterThanOrEqual(1);
    expect(seen.length).toBeLessThanOrEqual(isLost ? 2 : 1);
  });

  test.each(CALL_STATES)("%s: any other fails, unless it never left", async (_, asked, set) => {
    const isLost = asked !== "is never asked";
    const { result, seen } = await play(set, (bus) => bus.call("a.b", "x"));
    if (isLost) expect(result).toMatchObject({ name: "ClosedError", code: "CLOSED_BY_PEER" });
    else expect((result as Message).data).toBe("answer to x");
    expect(seen.length).toBeLessThanOrEqual(1);
  });

  test("waits for its service to come back is survived once more", async () => {
    const caller = await broker.open();
    const first = await broker.open({ reconnect: false });
    const service = new GatedService(first);
    await service.serve();
    using files = new TestFiles(["content"]);
    const result = caller.call("a.b", "x", { idempotent: true, fds: files.fds });
    await eventually(() => service.seen.length === 1, "the handler runs");
    for (let round = 0; round < 3; round += 1) {
      await broker.restart();
      await isAgain(caller);
      // Behind the call, which nobody serves here.
      await caller.flush();
    }
    const last = await broker.open();
    await last.serve("a.b", async ({ data, fds }) => `${data} ${await fds.at(0)?.text()}`);
    expect((await result).data).toBe("x content");
  });

  test("waits for its service to come back leaves it its time, and no more", async () => {
    const caller = await broker.open();
    const service = new GatedService(await broker.open({ reconnect: false }));
    await service.serve();
    const startedAt = performance.now();
    const failure = rejectionOf(caller.call("a.b", "x", { idempotent: true, timeoutMs: 1_000 }));
    await eventually(() => service.seen.length === 1, "the handler runs");
    await broker.restart();
    expect(await failure).toMatchObject({ code: "REJECTED_NO_SERVICE" });
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(999);
  });
});

describe("a broker that is killed in the middle of a stream", () => {
  test("ends it behind the parts that came, stops its source, and the next has its own", async () => {
    const caller = await broker.open();
    const service = await broker.open();
    let stopped = 0;
    await service.serve("a.b", async function* () {
      try {
        for (let part = 1; ; part += 1) yield part;
      } finally {
        stopped += 1;
      }
    });
    const stream = caller.callStream("a.b");
    const parts: unknown[] = [];
    const read = async (of: typeof stream) => parts.push((await of.next()).value?.data);
    while (parts.length < 100) await read(stream);
    await broker.kill();
    const reading = async () => {
      for (;;) await read(stream);
    };
    expect(await rejectionOf(reading())).toMatchObject({ code: "CLOSED_BY_PEER" });
    expect(parts).toEqual(Array.from(parts, (_, index) => index + 1));
    await eventually(() => stopped === 1, "the generator has stopped");
    await broker.start();
    await isAgain(service);
    await using again = caller.callStream("a.b");
    expect((await again.next()).value?.data).toBe(1);
  });
});
