/** The clean way to leave a bus, against a real broker. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Message, ServiceRequest } from "../../src/client/index.ts";
import { eventually } from "../support/eventually.ts";
import { isGone, MortalBroker, rejectionOf } from "../support/mortal-broker.ts";

let broker: MortalBroker;

beforeEach(async () => {
  broker = await MortalBroker.start();
});

afterEach(async () => {
  await broker[Symbol.asyncDispose]();
});

describe("Bus.drain()", () => {
  test("lets queued messages, callbacks and what they publish finish", async () => {
    const bus = await broker.open();
    const reader = await broker.open();
    const results = await reader.subscribe("result.>");
    const seen: unknown[] = [];
    const queued = await bus.subscribe("queued");
    const gate = Promise.withResolvers<void>();
    await bus.subscribe("called", {
      onMessage: async ({ data }) => {
        await gate.promise;
        bus.publish("result.called", data);
      },
    });
    for (let index = 0; index < 10; index += 1) reader.publish("queued", index);
    reader.publish("called", "done");
    await reader.flush();
    await eventually(() => queued.queued === 10, "all are queued");
    const drained = bus.drain();
    expect(await rejectionOf(bus.subscribe("more"))).toMatchObject({ code: "CLOSED_BY_USER" });
    for await (const { data } of queued) {
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(data);
      bus.publish("result.queued", data);
    }
    gate.resolve();
    await drained;
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(await bus.closed()).toBeUndefined();
    const topics: string[] = [];
    while (topics.length < 11) topics.push((await results.next()).value.topic);
    expect(topics.filter((topic) => topic === "result.called")).toHaveLength(1);
  });

  test("waits for a handler that calls another service, and for a call that no handler made", async () => {
    const [bus, front, back] = [await broker.open(), await broker.open(), await broker.open()];
    const answers = new Map<unknown, () => void>();
    const serveBack = ({ data }: ServiceRequest) =>
      new Promise((resolve) => answers.set(data, () => resolve(`back of ${data}`)));
    await back.serve("back", serveBack, { concurrency: 2 });
    const begun = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const service = await bus.serve("middle", async ({ data, signal }) => {
      begun.resolve();
      await goOn.promise;
      const { data: answer } = await bus.call("back", data);
      return `${answer}, aborted: ${signal.aborted}`;
    });
    const answered = front.call("middle", "handler");
    await begun.promise;
    const pending = bus.call("back", "pending");
    await eventually(() => answers.has("pending"), "the call is under way");
    const drained = bus.drain();
    expect(await service.closed()).toBeUndefined();
    const late = await rejectionOf(front.call("middle", "late"));
    expect(late).toMatchObject({ code: "REJECTED_NO_SERVICE" });
    goOn.resolve();
    await eventually(() => answers.has("handler"), "the handler has called");
    answers.get("handler")?.();
    expect((await answered).data).toBe("back of handler, aborted: false");
    // A bus that had forgotten the other call would flush as well, and be closed.
    for (let times = 0; times < 3; times += 1) await bus.flush();
    answers.get("pending")?.();
    expect((await pending).data).toBe("back of pending");
    await drained;
    expect(await bus.closed()).toBeUndefined();
  });

  test("closes all the same after timeoutMs, and says so", async () => {
    const bus = await broker.open();
    const gate = Promise.withResolvers<void>();
    const seen: unknown[] = [];
    const onMessage = ({ data }: Message) => {
      seen.push(data);
      return gate.promise;
    };
    const subscription = await bus.subscribe("a", { concurrency: 1, onMessage });
    for (const number of [1, 2]) bus.publish("a", number);
    await bus.flush();
    const error = await rejectionOf(bus.drain({ timeoutMs: 30 }));
    expect(error).toMatchObject({ code: "TIMEOUT_DRAIN" });
    expect(await bus.closed()).toBeUndefined();
    // What waits for a callback is let go with the bus.
    gate.resolve();
    await subscription.finished();
    expect(seen).toEqual([1]);
  });

  test("waits for the next broker with what is kept, and for none with nothing", async () => {
    const idle = await broker.open();
    const full = await broker.open();
    await broker.kill();
    await isGone(idle);
    await isGone(full);
    await idle.drain();
    full.publish("a", 1);
    const drained = full.drain();
    await broker.start();
    await drained;
    expect(await full.closed()).toBeUndefined();
  });
});
