/** Processes that are stopped or killed where a call, a stream or a line of waiters is under way. */

import { describe, expect, test } from "bun:test";
import { eventually } from "../support/eventually.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { ClientProcessError, connectAs, type SpawnedClient } from "../support/spawned-client.ts";

const UID = process.getuid?.() ?? 0;
const LARGE = "x".repeat(3_000_000);

/** A broker, and so many connected processes. */
async function setUp(
  stack: AsyncDisposableStack,
  count: number,
): Promise<{ broker: SpawnedBroker; clients: SpawnedClient[] }> {
  const broker = stack.use(await spawnBroker());
  const clients = await Promise.all(
    Array.from({ length: count }, () => connectAs(UID, broker.path)),
  );
  for (const client of clients) stack.use(client);
  return { broker, clients };
}

/** The code of the error that a command of another process ends with. */
async function codeOf(failing: Promise<unknown>): Promise<string | undefined> {
  const error = await failing.catch((reason: unknown) => reason);
  return error instanceof ClientProcessError ? error.reported.code : undefined;
}

function numbersFrom(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => first + index);
}

describe("a process that waits in line for a service", () => {
  test("and is killed is passed over", async () => {
    await using stack = new AsyncDisposableStack();
    const { clients } = await setUp(stack, 4);
    const [caller, owner, first, second] = clients as [
      SpawnedClient,
      SpawnedClient,
      SpawnedClient,
      SpawnedClient,
    ];
    await owner.call("serve", "a.b", "pid");
    for (const waiter of [first, second]) {
      expect(await waiter.call("serve", "a.b", "pid", { ifOwned: "queue" })).toBe(false);
    }
    first.kill("SIGKILL");
    owner.kill("SIGKILL");
    const answer = await eventually(
      () => caller.call("call", "a.b", "x").catch(() => undefined),
      "somebody serves it",
    );
    expect(answer.data).toBe(second.pid);
  });

  test("and is stopped gets its turn, and answers once it goes on", async () => {
    await using stack = new AsyncDisposableStack();
    const { clients } = await setUp(stack, 3);
    const [caller, owner, waiter] = clients as [SpawnedClient, SpawnedClient, SpawnedClient];
    await owner.call("serve", "a.b", "pid");
    await waiter.call("serve", "a.b", "pid", { ifOwned: "queue" });
    waiter.kill("SIGSTOP");
    await owner.call("stopServing");
    expect(await codeOf(caller.call("call", "a.b", "x", { timeoutMs: 100 }))).toBe("TIMEOUT_CALL");
    const asked = caller.call("call", "a.b", "x");
    waiter.kill("SIGCONT");
    expect((await asked).data).toBe(waiter.pid);
  });
});

describe("a stream", () => {
  for (const [who, place] of [
    ["service", 1],
    ["caller", 0],
  ] as const) {
    test(`goes on in order where its ${who} was stopped in the middle`, async () => {
      await using stack = new AsyncDisposableStack();
      const { clients } = await setUp(stack, 2);
      const [caller, responder] = clients as [SpawnedClient, SpawnedClient];
      await responder.call("serve", "a.b", "parts");
      const count = 20_000;
      const reading = caller.call("stream", "a.b", count);
      const stopped = clients[place] as SpawnedClient;
      const [begun, what] = [async () => (await responder.call("handled")).parts > 100, "it began"];
      await eventually(begun, what);
      stopped.kill("SIGSTOP");
      if (who === "caller") {
        // What it has credit for is made, and no more.
        const before = (await responder.call("handled")).parts;
        expect(before).toBeLessThan(count);
      }
      stopped.kill("SIGCONT");
      expect(await reading).toEqual(numbersFrom(1, count));
    });
  }
});

describe("a call with a large body", () => {
  test("fails where its service is killed before it has read it, and leaves no file", async () => {
    await using stack = new AsyncDisposableStack();
    const { broker, clients } = await setUp(stack, 2);
    const [caller, responder] = clients as [SpawnedClient, SpawnedClient];
    await responder.call("serve", "a.b", "echo");
    await caller.call("call", "a.b", "x");
    const fdsAtRest = await broker.fdsAtRest();
    responder.kill("SIGSTOP");
    const failing = codeOf(caller.call("call", "a.b", LARGE));
    // The broker answers this after it has passed the call on: before, the body would be refused.
    await caller.call("flush");
    responder.kill("SIGKILL");
    expect(await failing).toBe("CLOSED_BY_SERVICE");
    await eventually(() => broker.countFds() < fdsAtRest, "the broker let go of the service");
  });

  test("leaves no file where its caller is killed before it has read the answer", async () => {
    await using stack = new AsyncDisposableStack();
    const { broker, clients } = await setUp(stack, 2);
    const [caller, responder] = clients as [SpawnedClient, SpawnedClient];
    await responder.call("serve", "a.b", "echo");
    const fdsOfService = await responder.call("countFds");
    const fdsAtRest = await broker.fdsAtRest();
    caller.call("call", "a.b", LARGE).catch(() => {});
    await eventually(async () => (await responder.call("handled")).started > 0, "it was asked");
    caller.kill("SIGKILL");
    await eventually(() => broker.countFds() < fdsAtRest, "the broker let go of the caller");
    const isAtRest = async () => (await responder.call("countFds")) <= fdsOfService;
    await eventually(isAtRest, "the service has no file more");
  });
});

describe("a broker that is stopped in the middle of a call", () => {
  test("lets the caller's time run out, and serves on when it goes on", async () => {
    await using stack = new AsyncDisposableStack();
    const { broker, clients } = await setUp(stack, 2);
    const [caller, responder] = clients as [SpawnedClient, SpawnedClient];
    await responder.call("serve", "a.b", "hang");
    const failing = codeOf(caller.call("call", "a.b", "x", { timeoutMs: 500 }));
    await eventually(async () => (await responder.call("handled")).started > 0, "it was asked");
    broker.kill("SIGSTOP");
    expect(await failing).toBe("TIMEOUT_CALL");
    broker.kill("SIGCONT");
    const aborted = async () => (await responder.call("handled")).aborted;
    await eventually(async () => (await aborted()).length > 0, "the service was told");
    expect(await aborted()).toEqual(["TIMEOUT_CALL"]);
  });
});
