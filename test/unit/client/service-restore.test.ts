/**
 * What programs see of services, watches and channels over a lost connection, and of drain() beside
 * them. Which frames that takes is in services-reconnect; calls are in call-restore.
 */

import { beforeEach, describe, expect, test } from "bun:test";
import type {
  ServeOptions,
  Service,
  ServiceEvent,
  ServiceRequest,
} from "../../../src/client/index.ts";
import { DISCONNECTED_REQUEST_MS } from "../../../src/client/limits.ts";
import { planReconnect } from "../../../src/client/reconnection.ts";
import type { ServiceHandler } from "../../../src/client/request-run.ts";
import { OPCODE } from "../../../src/protocol/opcodes.ts";
import { STATUS } from "../../../src/protocol/status-codes.ts";
import { mapOf, PEER, SimulatedBus } from "./simulated-bus.ts";

/** What the first broker calls "a.b", and the second. */
const OLD = 33;
const NEW = 44;

let simulated: SimulatedBus;

beforeEach(async () => {
  simulated = await SimulatedBus.open(planReconnect({}));
});

async function grant(service: number, fields: { generation?: number; isOwner?: boolean } = {}) {
  const { id } = await simulated.sentOne(OPCODE.SERVE);
  simulated.control(OPCODE.ACK, id, { service, generation: 1, isOwner: true, ...fields });
  await Bun.sleep(0);
}

async function serve(handler: ServiceHandler, options: ServeOptions = {}): Promise<Service> {
  const service = simulated.bus.serve("a.b", handler, options);
  await grant(OLD);
  return await service;
}

function record<Event>(events: AsyncIterable<Event>): Event[] {
  const seen: Event[] = [];
  void (async () => {
    for await (const event of events) seen.push(event);
  })();
  return seen;
}

describe("Service over a lost connection", () => {
  test("is served again as it was, and tells of it", async () => {
    const onChannel = () => {};
    const service = await serve(({ data }) => `${data}!`, { ifOwned: "queue", onChannel });
    const events: ServiceEvent[] = record(service.status());
    await simulated.lose();
    expect(service.isOwner).toBe(false);
    await simulated.comeBack();
    expect(simulated.bus.isConnected).toBe(false);
    const frames = await simulated.sent();
    expect(frames.map(mapOf)).toEqual([{ service: "a.b", ifOwned: "queue", channels: true }]);
    const ack = { service: NEW, generation: 1, isOwner: false };
    simulated.control(OPCODE.ACK, frames[0]?.id ?? 0, ack);
    await Bun.sleep(0);
    expect(simulated.bus.isConnected).toBe(true);
    simulated.control(OPCODE.OWNERSHIP, NEW, { generation: 2, isOwner: true });
    simulated.request(NEW, 1, "hello");
    expect((await simulated.sentOne(OPCODE.REPLY)).body).toEqual(Buffer.from("hello!"));
    expect(events).toEqual([
      { type: "lost" },
      { type: "restored", generation: 1, isOwner: false },
      { type: "owner-gained", generation: 2 },
    ]);
  });

  test("takes a request in the packet of the ACK that restores it", async () => {
    await serve(() => "at once");
    await simulated.lose();
    await simulated.comeBack();
    const { id } = await simulated.sentOne(OPCODE.SERVE);
    simulated.receive((writer) => {
      writer.appendControl(OPCODE.ACK, 0, id, { service: NEW, generation: 1, isOwner: true });
      writer.append(OPCODE.REQUEST, 0, 0, NEW, PEER, Uint8Array.of(5, 0, 0, 0, 0, 0, 0, 0));
    });
    expect((await simulated.sentOne(OPCODE.REPLY)).id).toBe(5);
  });

  test("aborts what runs, drops what waits, and sends nothing of either", async () => {
    const requests: ServiceRequest[] = [];
    const finishers: ((value: string) => void)[] = [];
    const handler = (request: ServiceRequest) => {
      requests.push(request);
      // From the first on, so that there is something to abort.
      request.signal.throwIfAborted();
      return new Promise<string>((resolve) => finishers.push(resolve));
    };
    const service = await serve(handler, { concurrency: 1 });
    simulated.request(OLD, 1, "runs");
    simulated.request(OLD, 2, "waits");
    await simulated.lose();
    expect(requests.map(({ data }) => data)).toEqual(["runs"]);
    expect(requests[0]?.signal.reason).toMatchObject({ code: "CLOSED_DISCONNECTED" });
    expect([service.running, service.waiting]).toEqual([1, 0]);
    await simulated.comeBack();
    await grant(NEW);
    // The same number, of another broker, behind a handler that has not heard the signal.
    simulated.request(NEW, 1, "new");
    expect([service.running, service.waiting]).toEqual([1, 1]);
    finishers[0]?.("too late");
    expect(await simulated.sent()).toEqual([]);
    expect(requests.map(({ data }) => data)).toEqual(["runs", "new"]);
    finishers[1]?.("in time");
    const answer = await simulated.sentOne(OPCODE.REPLY);
    expect([answer.id, Buffer.from(answer.body).toString()]).toEqual([1, "in time"]);
    expect(service.running).toBe(0);
  });

  test("goes on where the next connection is lost before it was answered", async () => {
    const service = await serve(() => 1);
    const events: ServiceEvent[] = record(service.status());
    await simulated.lose();
    await simulated.comeBack();
    await simulated.sentOne(OPCODE.SERVE);
    await simulated.lose();
    await simulated.comeBack(1_000);
    await grant(NEW);
    expect(service.isOwner).toBe(true);
    expect(events.map(({ type }) => type)).toEqual(["lost", "restored", "owner-gained"]);
  });

  test("waits for the connection where it is asked for without one, for so long", async () => {
    await simulated.lose();
    const serving = simulated.bus.serve("a.b", () => 1);
    await simulated.comeBack();
    await grant(NEW);
    expect((await serving).isOwner).toBe(true);
    await simulated.lose();
    const late = simulated.bus.serve("c", () => 1).catch((error: unknown) => error);
    simulated.clock.pass(DISCONNECTED_REQUEST_MS);
    expect(await late).toMatchObject({ code: "CLOSED_DISCONNECTED" });
  });
});

describe("Bus.drain() with services", () => {
  test("serves no more, and waits for handlers and what they call", async () => {
    let finish = (_value: string) => {};
    const service = await serve(async () => {
      const value = await new Promise<string>((resolve) => {
        finish = resolve;
      });
      return (await simulated.bus.call("other", value)).data;
    });
    simulated.request(OLD, 1, "");
    const drained = simulated.bus.drain();
    const unserve = await simulated.sentOne(OPCODE.UNSERVE);
    simulated.control(OPCODE.ACK, unserve.id);
    await expect(simulated.bus.serve("more", () => 1)).rejects.toMatchObject({
      code: "CLOSED_BY_USER",
    });
    finish("question");
    const open = await simulated.sentOne(OPCODE.OPEN_SERVICE);
    simulated.control(OPCODE.ACK, open.id, { service: 50, sendFds: true });
    const request = await simulated.sentOne(OPCODE.REQUEST);
    simulated.reply(new DataView(request.body.buffer).getUint32(0, true), "answer");
    const [reply, sync] = await simulated.sent();
    expect(Buffer.from(reply?.body ?? []).toString()).toBe("answer");
    expect(sync?.opcode).toBe(OPCODE.SYNC);
    const counts = { published: 0, matched: 0, delivered: 0, dropped: 0, queued: 0 };
    const more = { denied: 0, fdsWaiting: 0, fdsExpired: 0, lostLater: 0, superseded: 0 };
    simulated.control(OPCODE.ACK, sync?.id ?? 0, { ...counts, ...more });
    await drained;
    expect(await service.closed()).toBeUndefined();
    expect(await simulated.bus.closed()).toBeUndefined();
  });

  test("closes what is granted only then", async () => {
    const serving = simulated.bus.serve("a.b", () => 1).catch((error: unknown) => error);
    const { id } = await simulated.sentOne(OPCODE.SERVE);
    const drained = simulated.bus.drain({ timeoutMs: 5_000 }).catch(() => {});
    simulated.control(OPCODE.ACK, id, { service: OLD, generation: 1, isOwner: true });
    const taken = (await simulated.sent()).filter(({ opcode }) => opcode === OPCODE.UNSERVE);
    expect(taken.map(mapOf)).toEqual([{ service: OLD }]);
    await simulated.bus.close();
    expect(await serving).toMatchObject({ code: "CLOSED_BY_USER" });
    await drained;
  });
});

describe("ServiceWatch over a lost connection", () => {
  async function answerWatch(service: number, generation: number, owners: number[] = []) {
    const { id } = await simulated.sentOne(OPCODE.WATCH);
    const count = owners.length;
    simulated.control(OPCODE.ACK, id, { service, generation, owners, count });
    await Bun.sleep(0);
  }

  const watch = async (generation = 9) => {
    const opening = simulated.bus.watch("a.b");
    await answerWatch(OLD, generation, [PEER]);
    return await opening;
  };

  test("gives the state on the next connection, whatever its number", async () => {
    const watched = await watch(9);
    expect((await watched.next()).value).toMatchObject({ epoch: 1, generation: 9, count: 1 });
    const next = watched.next();
    await simulated.lose();
    expect(watched.current).toMatchObject({ generation: 9, count: 1 });
    await simulated.comeBack();
    await answerWatch(NEW, 9);
    expect((await next).value).toMatchObject({ epoch: 2, generation: 9, count: 0 });
    const change = watched.next();
    simulated.control(OPCODE.SERVICE, NEW, { generation: 2, owners: [PEER], count: 1 });
    expect((await change).value).toMatchObject({ epoch: 2, generation: 2, count: 1 });
  });

  test("gives that also to a reader that was not waiting, though its number is lower", async () => {
    const watched = await watch(9);
    await watched.next();
    await simulated.lose();
    await simulated.comeBack();
    await answerWatch(NEW, 1);
    expect((await watched.next()).value).toMatchObject({ epoch: 2, generation: 1 });
  });

  test("is not asked for again where it was closed meanwhile, and is taken back where later", async () => {
    const first = await watch();
    await simulated.lose();
    first.close();
    await simulated.comeBack();
    expect(await simulated.sent()).toEqual([]);
    const second = await watch();
    await simulated.lose();
    await simulated.comeBack(10_000);
    second.close();
    await answerWatch(NEW, 1);
    expect(mapOf(await simulated.sentOne(OPCODE.UNWATCH))).toEqual({ service: NEW });
  });

  test("is joined, and not left, by a watch that begins while it is asked for", async () => {
    const first = await watch();
    await simulated.lose();
    await simulated.comeBack();
    first.close();
    const second = simulated.bus.watch("a.b");
    await answerWatch(NEW, 1);
    expect((await second).current).toMatchObject({ epoch: 2, generation: 1 });
    expect(await simulated.sent()).toEqual([]);
  });

  test("waitFor() goes on over a reconnect, within its time-out", async () => {
    const waiting = simulated.bus.waitFor("a.b", { timeoutMs: 60_000 });
    await answerWatch(OLD, 1);
    await simulated.lose();
    await simulated.comeBack();
    await answerWatch(NEW, 1);
    simulated.control(OPCODE.SERVICE, NEW, { generation: 2, owners: [PEER], count: 1 });
    expect(await waiting).toMatchObject({ epoch: 2, generation: 2 });
  });

  test("waitFor() does not believe the state of the lost connection", async () => {
    await watch();
    await simulated.lose();
    let isOver = false;
    const waiting = simulated.bus.waitFor("a.b").finally(() => {
      isOver = true;
    });
    await simulated.comeBack();
    expect(isOver).toBe(false);
    await answerWatch(NEW, 1);
    expect(isOver).toBe(false);
    simulated.control(OPCODE.SERVICE, NEW, { generation: 2, owners: [PEER], count: 1 });
    expect((await waiting).generation).toBe(2);
  });

  test("waitFor() waits longer for a connection than other requests do", async () => {
    await simulated.lose();
    const waiting = simulated.bus.waitFor("a.b", { timeoutMs: 2 * DISCONNECTED_REQUEST_MS });
    await simulated.comeBack(DISCONNECTED_REQUEST_MS);
    const { id } = await simulated.sentOne(OPCODE.WATCH);
    const state = { generation: 1, owners: [PEER], count: 1 };
    simulated.control(OPCODE.ACK, id, { service: NEW, ...state });
    expect((await waiting).count).toBe(1);
  });

  test("waitFor() gives up in time without a connection", async () => {
    await simulated.lose();
    const waiting = simulated.bus.waitFor("a.b", { timeoutMs: 10 });
    simulated.clock.pass(10);
    await expect(waiting).rejects.toMatchObject({ code: "TIMEOUT_SERVICE" });
  });
});

describe("Bus.openChannel() without a connection", () => {
  test("waits for the next one, and is asked there", async () => {
    await simulated.lose();
    const opening = simulated.bus.openChannel("a.b").catch((error: unknown) => error);
    await simulated.comeBack();
    const { id } = await simulated.sentOne(OPCODE.OPEN_CHANNEL);
    const refusal = { status: STATUS.REJECTED_NO_CHANNEL, message: "no" };
    simulated.control(OPCODE.ERROR, id, refusal);
    expect(await opening).toMatchObject({ code: "REJECTED_NO_CHANNEL" });
  });

  test("is given up by its signal, and not asked for any more", async () => {
    await simulated.lose();
    const { signal, abort } = withAbort();
    const opening = simulated.bus.openChannel("a.b", { signal });
    abort(new Error("enough"));
    await expect(opening).rejects.toThrow("enough");
    await simulated.comeBack();
    expect(await simulated.sent()).toEqual([]);
  });

  function withAbort() {
    const controller = new AbortController();
    return { signal: controller.signal, abort: (reason: Error) => controller.abort(reason) };
  }
});
