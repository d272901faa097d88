/** What becomes of calls, services and watches when the connection is lost and made again. */

import { beforeEach, describe, expect, test } from "bun:test";
import { planReconnect } from "../../../src/client/reconnection.ts";
import type { ServeOptions, Service } from "../../../src/client/service.ts";
import type { ServiceRequest } from "../../../src/client/service-request.ts";
import { FLAG_STREAM, OPCODE } from "../../../src/protocol/opcodes.ts";
import { STATUS } from "../../../src/protocol/status-codes.ts";
import { mapOf, PEER, SimulatedBus, splitPrefix } from "./simulated-bus.ts";

const SERVICE = 33;
/** The number of the same service on the next connection. */
const SERVICE_AGAIN = 44;

let simulated: SimulatedBus;

beforeEach(async () => {
  simulated = await SimulatedBus.open(planReconnect({}));
});

function codeOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => "no error",
    (error) => error.code,
  );
}

/** Lets the next connection come. */
async function reconnect(): Promise<void> {
  simulated.clock.pass(10_000);
  await Bun.sleep(0);
  simulated.introduce();
}

async function serve(options: ServeOptions = {}, handler = hang): Promise<Service> {
  const service = simulated.bus.serve("a.b", handler, options);
  const { id } = await simulated.sentOne(OPCODE.SERVE);
  simulated.control(OPCODE.ACK, id, { service: SERVICE, generation: 9, isOwner: true });
  return await service;
}

const seen: ServiceRequest[] = [];

function hang(request: ServiceRequest): Promise<never> {
  seen.push(request);
  return new Promise(() => {});
}

describe("a call", () => {
  test("that was sent ends, since nobody knows whether it was done", async () => {
    const code = codeOf(simulated.bus.call("a.b"));
    const open = await simulated.sentOne(OPCODE.OPEN_SERVICE);
    simulated.control(OPCODE.ACK, open.id, { service: SERVICE, sendFds: true });
    await simulated.sentOne(OPCODE.REQUEST);
    await simulated.lose();
    expect(await code).toBe("CLOSED_BY_PEER");
  });

  test("that was not sent yet goes to the next connection, as one made meanwhile", async () => {
    const early = simulated.bus.call("a.b", "early");
    await simulated.sentOne(OPCODE.OPEN_SERVICE);
    await simulated.lose();
    const late = simulated.bus.call("a.b", "late");
    await reconnect();
    const open = await simulated.sentOne(OPCODE.OPEN_SERVICE);
    simulated.control(OPCODE.ACK, open.id, { service: SERVICE_AGAIN, sendFds: true });
    const requests = await simulated.sent();
    expect(requests.map(({ id }) => id)).toEqual([SERVICE_AGAIN, SERVICE_AGAIN]);
    for (const { body } of requests) simulated.reply(splitPrefix(body)[0], splitPrefix(body)[2]);
    expect([(await early).data, (await late).data]).toEqual(["early", "late"]);
  });

  test("opens its service again under the next connection's number", async () => {
    const first = codeOf(simulated.bus.call("a.b"));
    const open = await simulated.sentOne(OPCODE.OPEN_SERVICE);
    simulated.control(OPCODE.ACK, open.id, { service: SERVICE, sendFds: true });
    await simulated.sent();
    await simulated.lose();
    await first;
    await reconnect();
    expect(await simulated.sent()).toEqual([]);
    void simulated.bus.call("a.b").catch(() => {});
    const again = await simulated.sentOne(OPCODE.OPEN_SERVICE);
    simulated.control(OPCODE.ACK, again.id, { service: SERVICE_AGAIN, sendFds: true });
    expect((await simulated.sentOne(OPCODE.REQUEST)).id).toBe(SERVICE_AGAIN);
  });

  test("gives up in time where no connection comes", async () => {
    await simulated.lose();
    const code = codeOf(simulated.bus.call("a.b", "x", { timeoutMs: 1 }));
    simulated.clock.pass(1);
    expect(await code).toBe("TIMEOUT_CALL");
  });

  test("ends with the bus while it waits for a connection", async () => {
    await simulated.lose();
    const code = codeOf(simulated.bus.call("a.b"));
    await simulated.bus.close();
    expect(await code).toBe("CLOSED_BY_USER");
  });

  test("is refused at once where nothing may wait for the next connection", async () => {
    simulated = await SimulatedBus.open(planReconnect({ whileDisconnected: "refuse" }));
    await simulated.lose();
    expect(await codeOf(simulated.bus.call("a.b"))).toBe("CLOSED_DISCONNECTED");
  });

  test("is waited for by drain()", async () => {
    const answer = simulated.bus.call("a.b");
    const open = await simulated.sentOne(OPCODE.OPEN_SERVICE);
    simulated.control(OPCODE.ACK, open.id, { service: SERVICE, sendFds: true });
    const { body } = await simulated.sentOne(OPCODE.REQUEST);
    const drained = codeOf(simulated.bus.drain());
    expect(await simulated.sent()).toEqual([]);
    simulated.reply(splitPrefix(body)[0], "done");
    expect((await answer).data).toBe("done");
    expect((await simulated.sentOne(OPCODE.SYNC)).opcode).toBe(OPCODE.SYNC);
    await simulated.bus.close();
    await drained;
  });
});

describe("a service", () => {
  test("is offered again, and its requests were those of the lost connection", async () => {
    const service = await serve({ ifOwned: "queue" });
    const events = service.status();
    simulated.request(SERVICE, 5, "old");
    const old = seen.at(-1);
    await simulated.lose();
    expect(service.isOwner).toBe(false);
    expect(old?.signal.reason).toMatchObject({ code: "CLOSED_DISCONNECTED" });
    await reconnect();
    const offer = await simulated.sentOne(OPCODE.SERVE);
    expect(mapOf(offer)).toEqual({ service: "a.b", ifOwned: "queue" });
    const ack = { service: SERVICE_AGAIN, generation: 2, isOwner: true };
    simulated.control(OPCODE.ACK, offer.id, ack);
    const told = [await events.next(), await events.next(), await events.next()];
    expect(told.map(({ value }) => value)).toEqual([
      { type: "lost" },
      { type: "restored", generation: 2, isOwner: true },
      { type: "owner-gained", generation: 2 },
    ]);
    expect([service.isOwner, service.generation]).toEqual([true, 2]);
    simulated.request(SERVICE_AGAIN, 5, "new");
    expect(seen.at(-1)?.data).toBe("new");
    expect(service.running).toBe(2);
  });

  test("answers nothing to a request of the lost connection, whose number is another's now", async () => {
    const releases: ((text: string) => void)[] = [];
    const service = simulated.bus.serve("a.b", () => {
      return new Promise((resolve) => releases.push(resolve));
    });
    const { id } = await simulated.sentOne(OPCODE.SERVE);
    simulated.control(OPCODE.ACK, id, { service: SERVICE, generation: 1, isOwner: true });
    await service;
    simulated.request(SERVICE, 5, "old");
    await simulated.lose();
    await reconnect();
    const offer = await simulated.sentOne(OPCODE.SERVE);
    const ack = { service: SERVICE_AGAIN, generation: 1, isOwner: true };
    simulated.control(OPCODE.ACK, offer.id, ack);
    simulated.request(SERVICE_AGAIN, 5, "new");
    releases[0]?.("to nobody");
    expect(await simulated.sent()).toEqual([]);
    releases[1]?.("to the caller");
    const reply = await simulated.sentOne(OPCODE.REPLY);
    expect([reply.id, new TextDecoder().decode(reply.body)]).toEqual([5, "to the caller"]);
  });

  test("ends where the next broker refuses it, and status() tells", async () => {
    const service = await serve();
    const events = simulated.bus.status();
    await simulated.lose();
    await reconnect();
    const { id } = await simulated.sentOne(OPCODE.SERVE);
    const refusal = { status: STATUS.REJECTED_SERVICE_OWNED, message: "another was quicker" };
    simulated.control(OPCODE.ERROR, id, refusal);
    expect(await service.closed()).toMatchObject({ code: "REJECTED_SERVICE_OWNED" });
    const types: string[] = [];
    for await (const event of events) {
      types.push(event.type);
      if (event.type === "connected") break;
    }
    expect(types).toEqual(["disconnected", "revoked", "connected"]);
    expect(simulated.bus.isConnected).toBe(true);
  });

  test("that is closed meanwhile is not offered again", async () => {
    const service = await serve();
    await simulated.lose();
    await service.close();
    await reconnect();
    expect(await simulated.sent()).toEqual([]);
    expect(await service.closed()).toBeUndefined();
  });

  test("that is closed while it is offered again is taken back", async () => {
    const service = await serve();
    await simulated.lose();
    await reconnect();
    const { id } = await simulated.sentOne(OPCODE.SERVE);
    await service.close();
    const ack = { service: SERVICE_AGAIN, generation: 1, isOwner: true };
    simulated.control(OPCODE.ACK, id, ack);
    const unserve = await simulated.sentOne(OPCODE.UNSERVE);
    expect(mapOf(unserve)).toEqual({ service: SERVICE_AGAIN });
    simulated.control(OPCODE.ACK, unserve.id);
    await Bun.sleep(0);
    expect(simulated.bus.isConnected).toBe(true);
  });

  test("stops its generators when the connection is lost", async () => {
    let isStopped = false;
    await serve({}, async function* () {
      try {
        for (;;) yield "part";
      } finally {
        isStopped = true;
      }
    } as never);
    simulated.request(SERVICE, 1, "", { flags: FLAG_STREAM });
    await simulated.sent();
    await simulated.lose();
    expect(isStopped).toBe(true);
  });
});

describe("a watch", () => {
  test("goes on with the next broker, whose generations begin anew", async () => {
    const opening = simulated.bus.watch("a.b");
    const { id } = await simulated.sentOne(OPCODE.WATCH);
    simulated.control(OPCODE.ACK, id, { service: SERVICE, generation: 9, owners: [], count: 0 });
    const watch = await opening;
    await watch.next();
    const next = watch.next();
    await simulated.lose();
    await reconnect();
    const again = await simulated.sentOne(OPCODE.WATCH);
    const state = { service: SERVICE_AGAIN, generation: 1, owners: [PEER], count: 1 };
    simulated.control(OPCODE.ACK, again.id, state);
    expect((await next).value).toMatchObject({ generation: 1, count: 1 });
    simulated.control(OPCODE.SERVICE, SERVICE_AGAIN, { generation: 2, owners: [], count: 0 });
    expect((await watch.next()).value).toMatchObject({ generation: 2, count: 0 });
  });

  test("ends where the next broker refuses it", async () => {
    const opening = simulated.bus.watch("a.b");
    const { id } = await simulated.sentOne(OPCODE.WATCH);
    simulated.control(OPCODE.ACK, id, { service: SERVICE, generation: 9, owners: [], count: 0 });
    const watch = await opening;
    await watch.next();
    const code = codeOf(watch.next());
    await simulated.lose();
    await reconnect();
    const again = await simulated.sentOne(OPCODE.WATCH);
    const refusal = { status: STATUS.REJECTED_BY_POLICY, message: "no" };
    simulated.control(OPCODE.ERROR, again.id, refusal);
    expect(await code).toBe("REJECTED_BY_POLICY");
  });

  test("that is opened without a connection waits for one", async () => {
    await simulated.lose();
    const opening = simulated.bus.watch("a.b");
    await reconnect();
    const { id } = await simulated.sentOne(OPCODE.WATCH);
    simulated.control(OPCODE.ACK, id, { service: SERVICE, generation: 9, owners: [], count: 0 });
    expect((await opening).current.generation).toBe(9);
  });
});
