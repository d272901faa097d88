import { beforeEach, describe, expect, test } from "bun:test";
import type { ServiceWatch } from "../../../src/client/index.ts";
import { OPCODE } from "../../../src/protocol/opcodes.ts";
import { STATUS } from "../../../src/protocol/status-codes.ts";
import { mapOf, PEER, SimulatedBus } from "./simulated-bus.ts";

const SERVICE = 33;

let simulated: SimulatedBus;

beforeEach(async () => {
  simulated = await SimulatedBus.open();
});

async function answerWatch(generation: number, owners: number[] = []): Promise<void> {
  const { id } = await simulated.sentOne(OPCODE.WATCH);
  const count = owners.length;
  simulated.control(OPCODE.ACK, id, { service: SERVICE, generation, owners, count });
}

function change(generation: number, owners: number[] = []): void {
  simulated.control(OPCODE.SERVICE, SERVICE, { generation, owners, count: owners.length });
}

async function watch(generation = 1, owners: number[] = []): Promise<ServiceWatch> {
  const opening = simulated.bus.watch("a.b");
  await answerWatch(generation, owners);
  return await opening;
}

describe("Bus.watch()", () => {
  test("gives the state first, then each change to a reader that waits", async () => {
    const watched = await watch(3, [PEER]);
    expect(watched.current).toMatchObject({ generation: 3, count: 1, owners: [{ uid: 7 }] });
    expect((await watched.next()).value).toBe(watched.current);
    for (const generation of [4, 7]) {
      const next = watched.next();
      change(generation);
      expect((await next).value).toMatchObject({ service: "a.b", generation, count: 0 });
    }
  });

  test("gives a slow reader the latest state, once", async () => {
    const watched = await watch(1);
    for (const generation of [2, 3, 4]) change(generation, [PEER]);
    expect((await watched.next()).value).toMatchObject({ generation: 4 });
    const next = watched.next();
    change(5);
    expect((await next).value).toMatchObject({ generation: 5 });
  });

  test("misses no change in the packet of the ACK", async () => {
    const opening = simulated.bus.watch("a.b");
    const { id } = await simulated.sentOne(OPCODE.WATCH);
    simulated.receive((writer) => {
      const body = { generation: 1, owners: [], count: 0 };
      writer.appendControl(OPCODE.ACK, 0, id, { service: SERVICE, ...body });
      writer.appendControl(OPCODE.SERVICE, 0, SERVICE, { ...body, generation: 2 });
    });
    expect((await opening).current.generation).toBe(2);
  });

  test("asks the broker once for several, and tells it when the last has left", async () => {
    const opening = [simulated.bus.watch("a.b"), simulated.bus.watch("a.b")];
    await answerWatch(1);
    const [one, two] = (await Promise.all(opening)) as [ServiceWatch, ServiceWatch];
    one.close();
    one.close();
    expect(await simulated.sent()).toEqual([]);
    expect(await one.next()).toEqual({ done: true, value: undefined });
    change(2);
    expect(two.current.generation).toBe(2);
    for await (const _state of two) break;
    expect(mapOf(await simulated.sentOne(OPCODE.UNWATCH))).toEqual({ service: SERVICE });
    change(3);
    void simulated.bus.watch("a.b").catch(() => {});
    expect(await simulated.sentOne(OPCODE.WATCH)).toBeDefined();
  });

  test("rejects where the broker refuses, for all that asked", async () => {
    const opening = [simulated.bus.watch("a.b"), simulated.bus.watch("a.b")];
    const settled = Promise.allSettled(opening);
    const { id } = await simulated.sentOne(OPCODE.WATCH);
    simulated.control(OPCODE.ERROR, id, { status: STATUS.REJECTED_BY_POLICY, message: "no" });
    for (const one of await settled) {
      expect(one).toMatchObject({ status: "rejected", reason: { code: "REJECTED_BY_POLICY" } });
    }
  });

  test("ends with the bus, by its error", async () => {
    const watched = await watch(1);
    await watched.next();
    const failure = watched.next().catch((error: unknown) => error);
    await simulated.lose();
    expect(await failure).toMatchObject({ code: "CLOSED_BY_PEER" });
    await expect(simulated.bus.watch("a.b")).rejects.toMatchObject({ code: "CLOSED_BY_PEER" });
  });

  test("ends where the policy takes the right away", async () => {
    const watched = await watch(1);
    await watched.next();
    simulated.control(OPCODE.REVOKED, 0, { message: "no", action: "call", topic: "a.b" });
    await expect(watched.next()).rejects.toMatchObject({ code: "REJECTED_BY_POLICY" });
  });

  test("closes the bus where an owner was not introduced", async () => {
    void simulated.bus.watch("a.b").catch(() => {});
    await answerWatch(1, [77]);
    expect(await simulated.bus.closed()).toMatchObject({ code: "PROTOCOL_STATE" });
  });

  test.each(["", "a.*", "a..b"])("refuses the name %j", async (name) => {
    await expect(simulated.bus.watch(name)).rejects.toMatchObject({ code: "ARGUMENT_TOPIC" });
  });
});

describe("Bus.waitFor()", () => {
  test("returns at once where somebody serves it, and watches no more", async () => {
    const waiting = simulated.bus.waitFor("a.b");
    await answerWatch(1, [PEER]);
    expect(await waiting).toMatchObject({ count: 1, owners: [{ connection: PEER }] });
    expect(await simulated.sentOne(OPCODE.UNWATCH)).toBeDefined();
  });

  test("waits until somebody does", async () => {
    const waiting = simulated.bus.waitFor("a.b");
    await answerWatch(1);
    change(2);
    change(3, [PEER]);
    expect(await waiting).toMatchObject({ generation: 3 });
  });

  test.each(["before", "after"])("gives up in time, %s the broker has answered", async (when) => {
    const waiting = simulated.bus.waitFor("a.b", { timeoutMs: 100 });
    if (when === "after") await answerWatch(1);
    simulated.clock.pass(100);
    await expect(waiting).rejects.toMatchObject({ code: "TIMEOUT_SERVICE", elapsedMs: 100 });
    if (when === "before") await answerWatch(1);
    expect(await simulated.sentOne(OPCODE.UNWATCH)).toBeDefined();
  });

  test("gives up where its signal is aborted", async () => {
    const controller = new AbortController();
    const waiting = simulated.bus.waitFor("a.b", { signal: controller.signal });
    await answerWatch(1);
    controller.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
  });

  test("ends where the program closes the bus", async () => {
    const waiting = simulated.bus.waitFor("a.b");
    await answerWatch(1);
    const failure = waiting.catch((error: unknown) => error);
    await simulated.bus.close();
    expect(await failure).toMatchObject({ code: "CLOSED_BY_USER" });
  });
});
