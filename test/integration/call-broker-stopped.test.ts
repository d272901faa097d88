/** A broker that is stopped while a call is in each state that a call can be in, and goes on. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { CallOptions } from "../../src/client/call-options.ts";
import type { Message } from "../../src/client/message.ts";
import { eventually } from "../support/eventually.ts";
import { MortalBroker } from "../support/mortal-broker.ts";
import { CALL_STATES, type CallState, GatedService, stopBroker } from "./call-states-fixture.ts";

let broker: MortalBroker;

beforeEach(async () => {
  broker = await MortalBroker.start();
});

afterEach(async () => {
  await broker[Symbol.asyncDispose]();
});

/** Makes a call, and stops the broker when it is in that state. */
async function stopWhile(set: CallState[2], options: CallOptions) {
  const caller = await broker.open();
  const service = new GatedService(await broker.open());
  await service.serve();
  let result: Promise<unknown> = Promise.resolve();
  const call = () => {
    result = caller.call("a.b", "x", options).catch((error: unknown) => error);
  };
  await set({ broker, caller, service, call });
  await stopBroker(broker);
  return { caller, service, result: () => result };
}

describe("a broker that is stopped while a call", () => {
  test.each(CALL_STATES)("%s: it is answered once the broker goes on", async (_, __, set) => {
    const { service, result } = await stopWhile(set, {});
    service.open();
    broker.process.kill("SIGCONT");
    expect(((await result()) as Message).data).toBe("answer to x");
    expect(service.seen.filter((data) => data === "x")).toEqual(["x"]);
    expect(service.aborted).not.toContain("x");
  });

  test.each(CALL_STATES)("%s, and is given up: its service %s", async (_, end, set) => {
    const controller = new AbortController();
    const { caller, service, result } = await stopWhile(set, { signal: controller.signal });
    const reason = new Error("no longer wanted");
    controller.abort(reason);
    expect(await result()).toBe(reason);
    broker.process.kill("SIGCONT");
    if (end === "is told") await eventually(() => service.aborted.includes("x"), "it is told");
    service.open();
    // Behind it: the answer is its own.
    expect((await caller.call("a.b", "y")).data).toBe("answer to y");
    expect(service.seen.includes("x")).toBe(end !== "is never asked");
    expect(service.aborted.includes("x")).toBe(end === "is told");
  });

  test("waits for its service to open: its time runs out, and it is never asked", async () => {
    const [[, , set]] = CALL_STATES as [CallState];
    const { caller, service, result } = await stopWhile(set, { timeoutMs: 20 });
    expect(await result()).toMatchObject({ name: "TimeoutError", code: "TIMEOUT_CALL" });
    broker.process.kill("SIGCONT");
    service.open();
    expect((await caller.call("a.b", "y")).data).toBe("answer to y");
    expect(service.seen).toEqual(["y"]);
  });
});

describe("a broker that is stopped in the middle of a stream", () => {
  const COUNT = 1_000;

  /** A stream of so many parts, of which some were read when the broker stopped. */
  async function stopWithin() {
    const [caller, service] = [await broker.open(), await broker.open()];
    const source = { isStopped: false };
    await service.serve("a.b", async function* () {
      try {
        for (let part = 1; part <= COUNT; part += 1) yield part;
      } finally {
        source.isStopped = true;
      }
    });
    const stream = caller.callStream("a.b", "x", { timeoutMs: 60_000 });
    for (let part = 1; part <= 10; part += 1) expect((await stream.next()).value?.data).toBe(part);
    await stopBroker(broker);
    return { stream, source };
  }

  test("loses no part of it", async () => {
    const { stream, source } = await stopWithin();
    const parts: unknown[] = [];
    const reading = (async () => {
      for await (const part of stream) parts.push(part.data);
    })();
    // What it has credit for came before; the rest takes a broker.
    expect(source.isStopped).toBe(false);
    broker.process.kill("SIGCONT");
    await reading;
    expect(parts).toEqual(Array.from({ length: COUNT - 10 }, (_, index) => index + 11));
  });

  test("tells its source afterwards where the caller has left meanwhile", async () => {
    const { stream, source } = await stopWithin();
    await stream.return();
    expect(source.isStopped).toBe(false);
    broker.process.kill("SIGCONT");
    await eventually(() => source.isStopped, "the generator has stopped");
  });
});
