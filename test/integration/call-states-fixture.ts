/** The states in which a call can be when something happens to its broker, and how it gets there. */

import type { Bus } from "../../src/client/bus.ts";
import { eventually } from "../support/eventually.ts";
import { type MortalBroker, rejectionOf } from "../support/mortal-broker.ts";
import { isStopped } from "../support/process-state.ts";

/** Serves "a.b": its answers wait until they are let go. */
export class GatedService {
  readonly bus: Bus;
  /** The data of every request. */
  readonly seen: unknown[] = [];
  /** The data of those that nobody waits for any more. */
  readonly aborted: unknown[] = [];
  readonly #gates: (() => void)[] = [];
  #isOpen = false;

  constructor(bus: Bus) {
    this.bus = bus;
  }

  async serve(): Promise<void> {
    await this.bus.serve("a.b", async ({ data, signal }) => {
      this.seen.push(data);
      signal.addEventListener("abort", () => this.aborted.push(data));
      if (!this.#isOpen) await new Promise<void>((resolve) => this.#gates.push(resolve));
      return `answer to ${data}`;
    });
  }

  open(): void {
    this.#isOpen = true;
    for (const resolve of this.#gates.splice(0)) resolve();
  }
}

/** The two programs, and what they are connected to. */
export interface Scene {
  readonly broker: MortalBroker;
  readonly caller: Bus;
  readonly service: GatedService;
  /** Calls "a.b" with "x". */
  readonly call: () => void;
}

/** One of them. */
export type CallState = [
  state: string,
  /** What its service will have had to do with it, where nobody waits for it any more. */
  service: "is never asked" | "is told" | "has answered",
  set: (scene: Scene) => Promise<void>,
];

/** Resolves once it is stopped. */
export async function stopBroker({ process }: MortalBroker): Promise<void> {
  process.kill("SIGSTOP");
  await isStopped(process.pid);
}

/** In some of them the broker is stopped. */
export const CALL_STATES: CallState[] = [
  [
    "waits for its service to open",
    "is never asked",
    async ({ broker, call }) => {
      await stopBroker(broker);
      call();
    },
  ],
  [
    "is in the broker's socket",
    "is told",
    async (scene) => {
      await openService(scene);
      await stopBroker(scene.broker);
      scene.call();
      await hasLeft(scene.caller);
    },
  ],
  [
    "is worked on",
    "is told",
    async ({ call, service }) => {
      call();
      await eventually(() => service.seen.includes("x"), "the handler runs");
    },
  ],
  [
    "is answered, and the answer in the broker's socket",
    "has answered",
    async ({ broker, call, service }) => {
      call();
      await eventually(() => service.seen.includes("x"), "the handler runs");
      await stopBroker(broker);
      service.open();
      await hasLeft(service.bus);
    },
  ],
];

/** Opens the service for the caller, so that the next call leaves at once. */
async function openService({ caller, service }: Scene): Promise<void> {
  const controller = new AbortController();
  const givenUp = rejectionOf(caller.call("a.b", "first", { signal: controller.signal }));
  await eventually(() => service.seen.includes("first"), "the handler runs");
  controller.abort();
  await givenUp;
}

/** What was sent before is in the socket of a broker that is stopped: its time runs out behind it. */
async function hasLeft(bus: Bus): Promise<void> {
  await bus.flush({ timeoutMs: 20 }).catch(() => {});
}
