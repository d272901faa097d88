/** Calls through the library, on a real broker and with both sides in processes of their own. */

import { describe, expect, test } from "bun:test";
import { connect } from "../../src/client/connect.ts";
import { eventually } from "../support/eventually.ts";
import { MortalBroker, rejectionOf } from "../support/mortal-broker.ts";
import { isStopped } from "../support/process-state.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { connectAs, type SpawnedClient } from "../support/spawned-client.ts";

const UID = process.getuid?.() ?? 0;

/** A broker, a caller and a responder. */
async function setUp(stack: AsyncDisposableStack): Promise<{
  broker: SpawnedBroker;
  caller: SpawnedClient;
  responder: SpawnedClient;
}> {
  const broker = stack.use(await spawnBroker());
  const [caller, responder] = await Promise.all([
    connectAs(UID, broker.path),
    connectAs(UID, broker.path),
  ]);
  return { broker, caller: stack.use(caller), responder: stack.use(responder) };
}

/** Waits until the responder's handler has begun with so many requests. */
async function started(responder: SpawnedClient, count: number): Promise<void> {
  const what = `the handler has ${count} requests`;
  await eventually(async () => (await responder.call("handled")).started >= count, what);
}

async function stopped(client: SpawnedClient): Promise<void> {
  client.kill("SIGSTOP");
  await isStopped(client.pid);
}

describe("a call", () => {
  test("gets its answer, and both sides know who the other is", async () => {
    await using stack = new AsyncDisposableStack();
    const { caller, responder } = await setUp(stack);
    await responder.call("serve", "a.b", "echo");
    const answer = await caller.call("call", "a.b", "hello");
    expect(answer.byteLength).toBe(5);
    expect(answer.sender).toEqual({ uid: UID, pid: responder.pid });
  });

  test("carries files both ways, and large bodies, and leaks neither", async () => {
    await using stack = new AsyncDisposableStack();
    const { broker, caller, responder } = await setUp(stack);
    await responder.call("serve", "a.b", "echo");
    const large = "x".repeat(3_000_000);
    const once = async () => {
      const file = await caller.call("callWithFile", "a.b", "contents");
      expect(file.fdTexts).toEqual(["contents"]);
      expect((await caller.call("call", "a.b", large)).byteLength).toBe(3_000_000);
    };
    await once();
    const before = [await caller.call("countFds"), await responder.call("countFds")];
    const brokerFds = await broker.fdsAtRest();
    for (let round = 0; round < 20; round += 1) await once();
    await broker.expectFds(brokerFds);
    const counts = async () => [await caller.call("countFds"), await responder.call("countFds")];
    await eventually(async () => {
      const now = await counts();
      return now.every((count, index) => count <= (before[index] ?? 0));
    }, "nobody has more fds than before");
  });

  test("fails with the handler's code, and at once where nobody serves", async () => {
    await using stack = new AsyncDisposableStack();
    const { caller, responder } = await setUp(stack);
    const nobody = await caller.failureOf("call", "a.b", "x");
    expect(nobody).toMatchObject({ name: "RejectedError", code: "REJECTED_NO_SERVICE" });
    await responder.call("serve", "a.b", "fail");
    const failed = await caller.failureOf("call", "a.b", "x");
    expect(failed).toMatchObject({ name: "ServiceError", code: "E_FULL", message: "disk" });
    expect(JSON.stringify(failed)).not.toContain("client-process");
  });

  test("fails at once where the responder is killed in the middle of it", async () => {
    await using stack = new AsyncDisposableStack();
    const { caller, responder } = await setUp(stack);
    await responder.call("serve", "a.b", "hang");
    const failure = caller.failureOf("call", "a.b", "x", { timeoutMs: 60_000 });
    await started(responder, 1);
    responder.kill("SIGKILL");
    expect(await failure).toMatchObject({ name: "ClosedError", code: "CLOSED_BY_SERVICE" });
    const later = await caller.failureOf("call", "a.b", "x");
    expect(later).toMatchObject({ code: "REJECTED_NO_SERVICE" });
  });

  test("times out at a responder that is stopped, which learns of it when it goes on", async () => {
    await using stack = new AsyncDisposableStack();
    const { caller, responder } = await setUp(stack);
    await responder.call("serve", "a.b", "hang");
    responder.kill("SIGSTOP");
    const failure = await caller.failureOf("call", "a.b", "x", { timeoutMs: 100 });
    expect(failure).toMatchObject({ name: "TimeoutError", code: "TIMEOUT_CALL" });
    responder.kill("SIGCONT");
    const what = "the handler was told";
    await eventually(async () => (await responder.call("handled")).aborted.length > 0, what);
    expect((await responder.call("handled")).aborted).toEqual(["TIMEOUT_CALL"]);
  });

  test("is aborted at the responder where the caller is killed", async () => {
    await using stack = new AsyncDisposableStack();
    const { caller, responder } = await setUp(stack);
    await responder.call("serve", "a.b", "hang");
    caller.call("call", "a.b", "x").catch(() => {});
    await started(responder, 1);
    caller.kill("SIGKILL");
    const what = "the handler was told";
    await eventually(async () => (await responder.call("handled")).aborted.length > 0, what);
    expect((await responder.call("handled")).aborted).toEqual(["CLOSED_BY_CALLER"]);
  });

  test("is answered once a caller that was stopped goes on", async () => {
    await using stack = new AsyncDisposableStack();
    const { caller, responder } = await setUp(stack);
    await responder.call("serve", "a.b", "gate");
    const answer = caller.call("call", "a.b", "hello");
    await started(responder, 1);
    await stopped(caller);
    await responder.call("openGate");
    // The answer was routed: it is in the socket of the caller.
    await responder.call("flush");
    caller.kill("SIGCONT");
    expect((await answer).data).toBe("hello");
  });

  test("is answered once a service that was stopped at work goes on, and holds up nobody", async () => {
    await using stack = new AsyncDisposableStack();
    const { broker, caller, responder } = await setUp(stack);
    const other = stack.use(await connectAs(UID, broker.path));
    await responder.call("serve", "a.b", "gate");
    await other.call("serve", "a.c", "pid");
    const answer = caller.call("call", "a.b", "hello");
    await started(responder, 1);
    await stopped(responder);
    expect((await caller.call("call", "a.c", "x")).data).toBe(other.pid);
    const late = await caller.failureOf("call", "a.b", "more", { timeoutMs: 20 });
    expect(late).toMatchObject({ code: "TIMEOUT_CALL" });
    responder.kill("SIGCONT");
    // It has read what came meanwhile, and the first request is still its own to answer.
    await started(responder, 2);
    await responder.call("openGate");
    expect((await answer).data).toBe("hello");
  });

  test("fails with the broker", async () => {
    await using stack = new AsyncDisposableStack();
    const { broker, caller, responder } = await setUp(stack);
    await responder.call("serve", "a.b", "hang");
    const failure = caller.failureOf("call", "a.b", "x");
    await started(responder, 1);
    await broker.stop();
    expect(await failure).toMatchObject({ name: "ClosedError", code: "CLOSED_BY_BROKER" });
    const what = "the handler was told";
    await eventually(async () => (await responder.call("handled")).aborted.length > 0, what);
    expect((await responder.call("handled")).aborted).toEqual(["CLOSED_DISCONNECTED"]);
  });
});

describe("an answer in parts", () => {
  test("is stopped at its source where the caller leaves the loop", async () => {
    await using stack = new AsyncDisposableStack();
    const { caller, responder } = await setUp(stack);
    await responder.call("serve", "a.b", "parts");
    const parts = await caller.call("stream", "a.b", 200);
    expect(parts).toEqual(Array.from({ length: 200 }, (_, index) => index + 1));
    const what = "the generator has stopped";
    await eventually(async () => (await responder.call("handled")).stops === 1, what);
    // 200 that were read, 64 of credit, and what was given back for those that were read.
    expect((await responder.call("handled")).parts).toBeLessThanOrEqual(200 + 64 + 1);
  });

  test("stands still while the caller does, and stops where it is killed", async () => {
    await using stack = new AsyncDisposableStack();
    const { broker, caller, responder } = await setUp(stack);
    await responder.call("serve", "a.b", "parts");
    await using bus = await connect({ path: broker.path });
    const stream = bus.callStream("a.b");
    await stream.next();
    await eventually(async () => (await responder.call("handled")).parts >= 64, "credit is used");
    // Each question gives it a turn, in which it could make more.
    for (let questions = 0; questions < 20; questions += 1) {
      expect((await responder.call("handled")).parts).toBeLessThanOrEqual(65);
    }
    await stream.return();
    await eventually(async () => (await responder.call("handled")).stops === 1, "it has stopped");
    caller.call("stream", "a.b", Number.MAX_SAFE_INTEGER).catch(() => {});
    await eventually(async () => (await responder.call("handled")).parts > 1_000, "it streams");
    expect((await responder.call("handled")).stops).toBe(1);
    caller.kill("SIGKILL");
    await eventually(async () => (await responder.call("handled")).stops === 2, "it has stopped");
  });

  test("fails in the middle where the responder is killed", async () => {
    await using stack = new AsyncDisposableStack();
    const { caller, responder } = await setUp(stack);
    await responder.call("serve", "a.b", "parts");
    const failure = caller.failureOf("stream", "a.b", Number.MAX_SAFE_INTEGER);
    const what = "it streams";
    await eventually(async () => (await responder.call("handled")).parts > 500, what);
    responder.kill("SIGKILL");
    expect(await failure).toMatchObject({ code: "CLOSED_BY_SERVICE" });
  });
});

describe("a service", () => {
  test("is taken over in the middle of a call, which is still answered or fails", async () => {
    await using stack = new AsyncDisposableStack();
    const { broker, caller, responder } = await setUp(stack);
    const other = stack.use(await connectAs(UID, broker.path));
    await responder.call("serve", "a.b", "echo");
    let isOver = false;
    const calling = (async () => {
      let answered = 0;
      for (; !isOver; answered += 1) await caller.call("call", "a.b", "x");
      return answered;
    })();
    await started(responder, 20);
    await other.call("serve", "a.b", "echo", { ifOwned: "replace" });
    expect(await responder.call("serviceEnd")).toBe("REJECTED_SERVICE_OWNED");
    await started(other, 20);
    isOver = true;
    const answered = await calling;
    const [first, second] = [await responder.call("handled"), await other.call("handled")];
    expect(first.started + second.started).toBe(answered);
  });

  test("goes to the next in line where its owner is killed", async () => {
    await using stack = new AsyncDisposableStack();
    const { broker, caller, responder } = await setUp(stack);
    const next = stack.use(await connectAs(UID, broker.path));
    expect(await responder.call("serve", "a.b", "pid")).toBe(true);
    expect(await next.call("serve", "a.b", "pid", { ifOwned: "queue" })).toBe(false);
    await using bus = await connect({ path: broker.path });
    await using watch = await bus.watch("a.b");
    const seen = [(await watch.next()).value?.owners[0]?.pid];
    responder.kill("SIGKILL");
    do seen.push((await watch.next()).value?.owners[0]?.pid);
    while (seen.at(-1) !== next.pid);
    expect(seen[0]).toBe(responder.pid);
    expect((await caller.call("call", "a.b", "x")).data).toBe(next.pid);
  });

  test("that is shared spreads calls over all that serve it, and loses none when one goes", async () => {
    await using stack = new AsyncDisposableStack();
    const { broker, caller, responder } = await setUp(stack);
    const other = stack.use(await connectAs(UID, broker.path));
    for (const one of [responder, other]) await one.call("serve", "a.b", "pid", { shared: true });
    const pids = async (count: number) => {
      const calls = Array.from({ length: count }, () => caller.call("call", "a.b", "x"));
      return new Set((await Promise.all(calls)).map(({ data }) => data));
    };
    expect(await pids(20)).toEqual(new Set([responder.pid, other.pid]));
    const during = pids(200);
    await other.call("stopServing");
    await during;
    expect(await pids(10)).toEqual(new Set([responder.pid]));
  });

  test("is waited for", async () => {
    await using stack = new AsyncDisposableStack();
    const { broker, responder } = await setUp(stack);
    await using bus = await connect({ path: broker.path });
    const waiting = bus.waitFor("a.b");
    await responder.call("serve", "a.b", "echo");
    expect((await waiting).owners.map(({ pid }) => pid)).toEqual([responder.pid]);
    expect(await rejectionOf(bus.waitFor("other", { timeoutMs: 10 }))).toMatchObject({
      code: "TIMEOUT_SERVICE",
    });
  });
});

describe("a broker that is killed and replaced", () => {
  test("gets services and watches again, and calls made meanwhile", async () => {
    await using broker = await MortalBroker.start();
    const [caller, server] = [await broker.open(), await broker.open()];
    await using service = await server.serve("a.b", ({ data }) => `${data}!`);
    await using watch = await caller.watch("a.b");
    await watch.next();
    expect((await caller.call("a.b", "one")).data).toBe("one!");
    await broker.kill();
    await eventually(() => !caller.isConnected && !server.isConnected, "both have noticed");
    expect(service.isOwner).toBe(false);
    // Whoever comes back first may find nobody there yet.
    const waiting = caller.waitFor("a.b").then(() => caller.call("a.b", "two"));
    await broker.start();
    expect((await waiting).data).toBe("two!");
    expect(service.isOwner).toBe(true);
    await eventually(() => watch.current.owners[0]?.pid === process.pid, "the watch goes on");
    expect(watch.current.owners[0]?.connection).toBe(server.self.connection);
  });
});

describe("the policy", () => {
  const policy = `
    [[rule]]
    id = "serve"
    allow = ["serve"]
    topics = ["a.*"]
    any = true
    [[rule]]
    id = "no-calls"
    deny = ["call"]
    topics = ["a.secret"]
    any = true
    [[rule]]
    allow = ["call"]
    topics = ["a.>"]
    any = true
  `;

  test("denies calls, watches and services by the rule", async () => {
    await using broker = await spawnBroker({ policy });
    await using bus = await connect({ path: broker.path });
    await bus.serve("a.secret", () => 1);
    const denied = { name: "RejectedError", code: "REJECTED_BY_POLICY", rule: "no-calls" };
    expect(await rejectionOf(bus.call("a.secret"))).toMatchObject(denied);
    expect(await rejectionOf(bus.watch("a.secret"))).toMatchObject(denied);
    expect(await rejectionOf(bus.callStream("a.secret").next())).toMatchObject(denied);
    const serving = bus.serve("b.c", () => 1);
    expect(await rejectionOf(serving)).toMatchObject({ code: "REJECTED_BY_POLICY" });
    await bus.serve("a.b", () => "yes");
    expect((await bus.call("a.b")).data).toBe("yes");
  });
});
