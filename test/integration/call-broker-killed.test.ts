/** A broker that is killed while a call is in each state that a call can be in. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Bus } from "../../src/client/bus.ts";
import type { Message } from "../../src/client/message.ts";
import { eventually } from "../support/eventually.ts";
import { isAgain, isGone, MortalBroker, rejectionOf } from "../support/mortal-broker.ts";
import { TestFiles } from "../support/test-files.ts";

let broker: MortalBroker;

beforeEach(async () => {
  broker = await MortalBroker.start();
});

afterEach(async () => {
  await broker[Symbol.asyncDispose]();
});

/** Serves "a.b": its answers wait until they are let go. */
class GatedService {
  readonly bus: Bus;
  readonly seen: unknown[] = [];
  readonly #gates: (() => void)[] = [];
  #isOpen = false;

  constructor(bus: Bus) {
    this.bus = bus;
  }

  async serve(): Promise<void> {
    await this.bus.serve("a.b", async ({ data }) => {
      this.seen.push(data);
      if (!this.#isOpen) await new Promise<void>((resolve) => this.#gates.push(resolve));
      return `answer to ${data}`;
    });
  }

  open(): void {
    this.#isOpen = true;
    for (const resolve of this.#gates.splice(0)) resolve();
  }
}

/** The two programs. */
interface Scene {
  readonly caller: Bus;
  readonly service: GatedService;
  /** Makes the call. */
  readonly call: () => void;
}

function pause(): void {
  broker.process.kill("SIGSTOP");
}

/** Opens the service for the caller, so that the next call leaves at once. */
async function warmUp({ caller }: Scene): Promise<void> {
  await rejectionOf(caller.call("a.b", "first", { timeoutMs: 50 }));
}

const STATES: [state: string, isLost: boolean, set: (scene: Scene) => Promise<void>][] = [
  [
    "waits for its service to open",
    false,
    async ({ call }) => {
      pause();
      call();
    },
  ],
  [
    "is in the broker's socket",
    true,
    async (scene) => {
      await warmUp(scene);
      pause();
      scene.call();
      await scene.caller.flush({ timeoutMs: 20 }).catch(() => {});
    },
  ],
  [
    "is worked on",
    true,
    async ({ call, service }) => {
      call();
      await eventually(() => service.seen.includes("x"), "the handler runs");
    },
  ],
  [
    "is answered, and the answer in the broker's socket",
    true,
    async ({ call, service }) => {
      call();
      await eventually(() => service.seen.includes("x"), "the handler runs");
      pause();
      service.open();
      await service.bus.flush({ timeoutMs: 20 }).catch(() => {});
    },
  ],
];

async function play(
  set: (scene: Scene) => Promise<void>,
  make: (bus: Bus) => Promise<unknown>,
): Promise<{ result: unknown; seen: unknown[] }> {
  const caller = await broker.open();
  const service = new GatedService(await broker.open());
  await service.serve();
  let result: Promise<unknown> = Promise.resolve();
  const call = () => {
    result = make(caller).catch((error: unknown) => error);
  };
  await set({ caller, service, call });
  await broker.kill();
  await isGone(caller);
  service.open();
  await broker.start();
  return { result: await result, seen: service.seen.filter((data) => data !== "first") };
}

describe("a broker that is killed while a call", () => {
  test.each(STATES)("%s: an idempotent one is answered by the next", async (_, isLost, set) => {
    const { result, seen } = await play(set, (bus) => bus.call("a.b", "x", { idempotent: true }));
    expect((result as Message).data).toBe("answer to x");
    expect(seen.length).toBeGreaterThanOrEqual(1);
    expect(seen.length).toBeLessThanOrEqual(isLost ? 2 : 1);
  });

  test.each(STATES)("%s: any other fails, unless it never left", async (_, isLost, set) => {
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
