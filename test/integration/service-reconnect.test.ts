/** Services, calls, watches and channels while their broker dies and another one takes its place. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import type { Bus } from "../../src/client/bus.ts";
import type { Channel } from "../../src/client/channel.ts";
import type { Message } from "../../src/client/message.ts";
import type { ServiceEvent } from "../../src/client/service.ts";
import { eventually } from "../support/eventually.ts";
import { isAgain, isGone, MortalBroker, QUICK, rejectionOf } from "../support/mortal-broker.ts";
import { connectAs, type SpawnedClient } from "../support/spawned-client.ts";
import { TestFiles } from "../support/test-files.ts";

const UID = process.getuid?.() ?? 0;

let broker: MortalBroker;

beforeEach(async () => {
  broker = await MortalBroker.start();
});

afterEach(async () => {
  await broker[Symbol.asyncDispose]();
});

/** A process that serves "a.b". */
async function startResponder(stack: AsyncDisposableStack): Promise<SpawnedClient> {
  const responder = stack.use(await connectAs(UID, broker.path, { reconnect: QUICK }));
  await responder.call("serve", "a.b", "echo");
  return responder;
}

function textOf({ bytes }: Message): string {
  return Buffer.from(bytes).toString();
}

function countFds(): number {
  return readdirSync("/proc/self/fd").length;
}

describe("calls over brokers that are killed", () => {
  test("succeed again, also those made in between, with the service in another process", async () => {
    await using stack = new AsyncDisposableStack();
    const responder = await startResponder(stack);
    const bus = await broker.open();
    expect(textOf(await bus.call("a.b", "before"))).toBe("before");
    await broker.kill();
    await isGone(bus);
    const between = bus.call("a.b", "between");
    const stream = bus.callStream("a.b", "stream");
    await broker.start();
    const answer = await between;
    expect([textOf(answer), answer.sender.pid]).toEqual(["between", responder.pid]);
    expect(textOf((await stream.next()).value)).toBe("stream");
    expect(textOf(await bus.call("a.b", "after"))).toBe("after");
  });

  test("fail at once where they were under way, and are no idempotent ones", async () => {
    await using stack = new AsyncDisposableStack();
    const bus = await broker.open();
    const responder = stack.use(await connectAs(UID, broker.path, { reconnect: QUICK }));
    await responder.call("serve", "a.b", "hang");
    const answer = rejectionOf(bus.call("a.b", "x"));
    await eventually(async () => (await responder.call("handled")).started === 1, "it runs");
    await broker.kill();
    expect(await answer).toMatchObject({ name: "ClosedError", code: "CLOSED_BY_PEER" });
    await eventually(async () => (await responder.call("handled")).aborted.length > 0, "aborted");
    expect((await responder.call("handled")).aborted).toEqual(["CLOSED_DISCONNECTED"]);
  });

  test("are made again where they are idempotent, and the program notices nothing", async () => {
    await using stack = new AsyncDisposableStack();
    await startResponder(stack);
    const bus = await broker.open();
    let isOver = false;
    const failures: unknown[] = [];
    let answered = 0;
    const work = Array.from({ length: 4 }, async () => {
      for (let index = 0; !isOver; index += 1) {
        const large = new Uint8Array(100_000).fill(index);
        const body = index % 3 === 0 ? large : `${index}`;
        using files = new TestFiles([`file ${index}`]);
        const options = { idempotent: true, fds: files.fds };
        try {
          using reply = await bus.call("a.b", body, options);
          expect(reply.byteLength).toBe(typeof body === "string" ? body.length : 100_000);
          expect(await reply.fds.at(0)?.text()).toBe(`file ${index}`);
          answered += 1;
        } catch (error) {
          failures.push(error);
          break;
        }
      }
    });
    await eventually(() => answered > 20, "calls are answered");
    const before = countFds();
    for (let round = 0; round < 6; round += 1) {
      const from = answered;
      // In turn: it is killed, or it says goodbye.
      if (round % 2 === 0) await broker.kill();
      else await broker.process.stop();
      await broker.start();
      await eventually(() => answered > from + 20 || failures.length > 0, "calls go on");
    }
    isOver = true;
    await Promise.all(work);
    expect(failures).toEqual([]);
    await eventually(() => countFds() <= before, "no fd is left");
  }, 30_000);

  test("are made again in full where the handler had not answered", async () => {
    const bus = await broker.open();
    const server = await broker.open();
    const seen: unknown[] = [];
    await server.serve("a.b", ({ data, signal }) => {
      seen.push(data);
      if (seen.length > 1) return "at last";
      return new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      });
    });
    const answer = bus.call("a.b", "x", { idempotent: true });
    await eventually(() => seen.length === 1, "the first handler runs");
    await broker.restart();
    expect((await answer).data).toBe("at last");
    expect(seen).toEqual(["x", "x"]);
  });

  test("end in time where no broker comes back, and leave no fd", async () => {
    await using stack = new AsyncDisposableStack();
    await startResponder(stack);
    const bus = await broker.open();
    await broker.kill();
    await isGone(bus);
    const before = countFds();
    {
      using files = new TestFiles(["x"]);
      const options = { timeoutMs: 30, fds: files.fds, idempotent: true };
      const error = await rejectionOf(bus.call("a.b", "x", options));
      expect(error).toMatchObject({ code: "TIMEOUT_CALL" });
    }
    await eventually(() => countFds() <= before, "no fd is left");
  });
});

describe("services over brokers that are killed", () => {
  test("are served by one of those that want to, and the others are in line", async () => {
    const buses = [await broker.open(), await broker.open(), await broker.open()];
    const serve = (bus: Bus, index: number) => bus.serve("a.b", () => index, { ifOwned: "queue" });
    const services = await Promise.all(buses.map(serve));
    const caller = await broker.open();
    for (let round = 0; round < 3; round += 1) {
      await broker.restart();
      for (const bus of [...buses, caller]) await isAgain(bus);
      const owners = services.flatMap(({ isOwner }, index) => (isOwner ? [index] : []));
      expect(owners).toHaveLength(1);
      expect((await caller.call("a.b")).data).toBe(owners[0]);
    }
    const owner = services.findIndex(({ isOwner }) => isOwner);
    await services[owner]?.close();
    await eventually(() => services.some(({ isOwner }) => isOwner), "the next has its turn");
  });

  test("end where somebody else got it in between, and all else goes on", async () => {
    await using stack = new AsyncDisposableStack();
    const responder = await startResponder(stack);
    const bus = await broker.open();
    responder.kill("SIGSTOP");
    await broker.restart();
    await isAgain(bus);
    await bus.serve("a.b", () => "quicker");
    responder.kill("SIGCONT");
    expect(await responder.call("serviceEnd")).toBe("REJECTED_SERVICE_OWNED");
    expect((await responder.call("call", "a.b", "x")).data).toBe("quicker");
  });

  test("are taken again where they were to be taken over", async () => {
    await using stack = new AsyncDisposableStack();
    const responder = stack.use(await connectAs(UID, broker.path, { reconnect: QUICK }));
    await responder.call("serve", "a.b", "echo", { ifOwned: "replace" });
    const bus = await broker.open();
    responder.kill("SIGSTOP");
    await broker.restart();
    await isAgain(bus);
    const service = await bus.serve("a.b", () => "quicker");
    responder.kill("SIGCONT");
    expect(await service.closed()).toMatchObject({ code: "REJECTED_SERVICE_OWNED" });
  });

  test("end where the policy of the next broker refuses them", async () => {
    const bus = await broker.open();
    const service = await bus.serve("a.b", () => 1);
    const watch = await bus.watch("a.c");
    await watch.next();
    const next = rejectionOf(watch.next());
    const policy = '[[rule]]\nid = "r"\nallow = ["publish"]\ntopics = ["a"]\nany = true\n';
    await broker.restart({ policy });
    expect(await service.closed()).toMatchObject({ code: "REJECTED_BY_POLICY" });
    expect(await next).toMatchObject({ code: "REJECTED_BY_POLICY" });
    await isAgain(bus);
    expect(await rejectionOf(bus.call("a.b"))).toMatchObject({ code: "REJECTED_BY_POLICY" });
  });

  test("tell of each loss, and of each return", async () => {
    const bus = await broker.open();
    const service = await bus.serve("a.b", () => 1);
    const events: ServiceEvent[] = [];
    void (async () => {
      for await (const event of service.status()) events.push(event);
    })();
    await broker.restart();
    await eventually(() => events.length === 3, "all are told");
    const { generation } = service;
    expect(events).toEqual([
      { type: "lost" },
      { type: "restored", generation, isOwner: true },
      { type: "owner-gained", generation },
    ]);
  });
});

describe("watches and channels over brokers that are killed", () => {
  test("a watch gives the state of the next broker, and its changes", async () => {
    const bus = await broker.open();
    const server = await broker.open({ reconnect: false });
    await server.serve("a.b", () => 1);
    const watch = await bus.watch("a.b");
    expect((await watch.next()).value).toMatchObject({ epoch: 1, count: 1 });
    await broker.kill();
    await isGone(bus);
    expect(watch.current.count).toBe(1);
    const waiting = bus.waitFor("a.b");
    await broker.start();
    expect((await watch.next()).value).toMatchObject({ epoch: 2, count: 0 });
    const other = await broker.open();
    await other.serve("a.b", () => 1);
    expect((await watch.next()).value).toMatchObject({ epoch: 2, count: 1 });
    expect(await waiting).toMatchObject({ owners: [{ connection: other.self.connection }] });
  });

  test("a channel goes on without a broker, and another is opened with the next", async () => {
    const bus = await broker.open();
    const server = await broker.open();
    const accepted: Channel[] = [];
    await server.serve("a.b", () => 1, { onChannel: (channel) => void accepted.push(channel) });
    await using channel = await bus.openChannel("a.b");
    await eventually(() => accepted.length === 1, "it is accepted");
    await broker.kill();
    await isGone(bus);
    await isGone(server);
    channel.send("still here");
    expect((await accepted[0]?.next())?.value.data).toBe("still here");
    const opening = bus.openChannel("a.b").catch((error: unknown) => error);
    await broker.start();
    // The other side may come back later than this one.
    await bus.waitFor("a.b");
    const early = await opening;
    if (early instanceof Error) expect(early).toMatchObject({ code: "REJECTED_NO_SERVICE" });
    else await (early as Channel).close();
    await using next = await bus.openChannel("a.b");
    next.send("again");
    await eventually(() => accepted.length > 1, "it is accepted");
    for (const one of accepted) await one.close();
  });
});
