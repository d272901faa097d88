/** A socket path whose broker dies and is replaced while its clients, in this process, live on. */

import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bus } from "../../src/client/bus.ts";
import { type ConnectOptions, connect } from "../../src/client/connect.ts";
import type { StatusEvent } from "../../src/client/status.ts";
import { eventually } from "./eventually.ts";
import { type SpawnedBroker, type SpawnOptions, spawnBroker } from "./spawned-broker.ts";

/** Short pauses, so that a test spends its time on what it is about. */
export const QUICK = { minDelayMs: 1, maxDelayMs: 20 };

/** See the head of this file. At its end everything of it is closed and removed. */
export class MortalBroker implements AsyncDisposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), "seqbus-mortal-"));
  readonly path: string = join(this.directory, "bus.sock");
  readonly #buses: Bus[] = [];
  #process: SpawnedBroker | undefined;

  /** Starts the first one. */
  static async start(): Promise<MortalBroker> {
    const broker = new MortalBroker();
    // Other users may come in, among them a broker that is a stranger.
    chmodSync(broker.directory, 0o755);
    await broker.start();
    return broker;
  }

  /** The present one, or the last one. */
  get process(): SpawnedBroker {
    if (this.#process === undefined) throw new Error("There was no broker yet");
    return this.#process;
  }

  /** Starts the next one. */
  async start(options: SpawnOptions = {}): Promise<void> {
    this.#process = await spawnBroker({ path: this.path, ...options });
  }

  /** SIGKILL. Resolves when the process is gone. */
  async kill(): Promise<void> {
    this.process.kill("SIGKILL");
    await this.process.exited();
  }

  /** Kills this one and starts the next. */
  async restart(options: SpawnOptions = {}): Promise<void> {
    await this.kill();
    await this.start(options);
  }

  /** Connects; closed at the end. */
  async open(options: ConnectOptions = {}): Promise<Bus> {
    const bus = await connect({ path: this.path, reconnect: QUICK, ...options });
    this.#buses.push(bus);
    return bus;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const bus of this.#buses) await bus.close();
    await this.#process?.[Symbol.asyncDispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Everything that happens to a bus from now on. */
export function record(bus: Bus): StatusEvent[] {
  const events: StatusEvent[] = [];
  void (async () => {
    for await (const event of bus.status()) events.push(event);
  })();
  return events;
}

/** Messages that all lost connections together may have lost. */
export function lostOf(events: readonly StatusEvent[]): number {
  return events.reduce(
    (sum, event) => sum + (event.type === "disconnected" ? event.unconfirmed : 0),
    0,
  );
}

/** What a promise rejects with; it must. */
export async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("Nothing was rejected");
}

/** Waits until the bus has a connection again. */
export async function isAgain(bus: Bus): Promise<void> {
  await eventually(() => bus.isConnected, "the bus is connected again");
}

/** Waits until the bus has seen its broker go. */
export async function isGone(bus: Bus): Promise<void> {
  await eventually(() => !bus.isConnected, "the bus saw its broker go");
}
