/**
 * The processes of a call, to be stopped and killed: a broker, a caller, a service, and another one
 * that serves. They live on from one play to the next, and whoever was killed is replaced, so that what
 * a play leaves behind is seen by those that follow.
 */

import type { Bus } from "../../src/client/bus.ts";
import { connect } from "../../src/client/connect.ts";
import { eventually } from "../support/eventually.ts";
import { isStopped } from "../support/process-state.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { runAs, type SpawnedClient } from "../support/spawned-client.ts";

/** All that are clients. */
export const CLIENT_ROLES = ["caller", "service", "other"] as const;

/** A process that is a client. */
export type ClientRole = (typeof CLIENT_ROLES)[number];

/** A process of a play. */
export type Role = ClientRole | "broker";

/** Milliseconds: what was sent before a flush that no broker answers has left by then. */
const LEFT_AFTER_MS = 20;

/** See the head of this file. */
export class Cast implements AsyncDisposable {
  #broker: SpawnedBroker | undefined;
  /** Of this process, to ask the broker what it has. */
  #observer: Bus | undefined;
  /** Of the broker, with all connected. */
  #fdsAtRest: number | undefined;
  readonly #clients = new Map<ClientRole, SpawnedClient>();
  /** Those that have a connection to this broker. */
  readonly #connected = new Set<ClientRole>();
  readonly #stopped = new Set<Role>();

  get broker(): SpawnedBroker {
    if (this.#broker === undefined) throw new Error("The broker is dead");
    return this.#broker;
  }

  /** A client that lives. */
  client(role: ClientRole): SpawnedClient {
    const client = this.#clients.get(role);
    if (client === undefined) throw new Error(`The ${role} is dead`);
    return client;
  }

  isAlive(role: Role): boolean {
    return role === "broker" ? this.#broker !== undefined : this.#clients.has(role);
  }

  /** Starts whoever is missing. The broker then has the fds that it had before, and no call. */
  async assemble(): Promise<void> {
    if (this.#broker === undefined) {
      this.#broker = await spawnBroker();
      this.#observer = await connect({ path: this.#broker.path, reconnect: false });
    }
    await Promise.all(CLIENT_ROLES.map((role) => this.#enter(role)));
    await this.hasNoCalls();
    if (this.#fdsAtRest === undefined) this.#fdsAtRest = await this.#broker.fdsAtRest();
    else await this.#broker.expectFds(this.#fdsAtRest);
  }

  /** SIGSTOP. Resolves once it stands still. */
  async stop(role: Role): Promise<void> {
    const { pid } = this.#signal(role, "SIGSTOP");
    this.#stopped.add(role);
    await isStopped(pid);
  }

  /** SIGCONT for one that was stopped. */
  resume(role: Role): void {
    if (this.#stopped.delete(role)) this.#signal(role, "SIGCONT");
  }

  /** SIGCONT for all that were stopped, but one. */
  resumeOthers(than?: Role): void {
    for (const role of [...this.#stopped]) if (role !== than) this.resume(role);
  }

  /** SIGKILL. Resolves when the process is gone, and the broker need not know it yet. @returns its pid */
  async kill(role: Role): Promise<number> {
    const { pid } = this.#signal(role, "SIGKILL");
    this.#stopped.delete(role);
    if (role === "broker") {
      await this.broker[Symbol.asyncDispose]();
      this.#broker = undefined;
      this.#fdsAtRest = undefined;
      this.#connected.clear();
    } else {
      await this.client(role)[Symbol.asyncDispose]();
      this.#clients.delete(role);
      this.#connected.delete(role);
    }
    return pid;
  }

  /** Resolves when the broker has seen the end of a process. */
  async isBuried(pid: number): Promise<void> {
    const { broker } = this;
    const isReported = () =>
      broker.findAll("disconnected").some(({ identity }) => identity.pid === pid);
    await eventually(isReported, `the broker saw the end of ${pid}`);
  }

  /** Resolves when the broker has no call any more that waits for an answer. */
  async hasNoCalls(): Promise<void> {
    await eventually(async () => (await this.#pendingCalls()) === 0, "the broker has no call left");
  }

  /** All that a client sent before has come to the broker, and what came of it has left there. */
  async isPassedOn(role: ClientRole): Promise<void> {
    // The first answer may leave in the same turn, before the rest.
    for (let times = 0; times < 2; times += 1) await this.client(role).call("flush");
  }

  /** All that a client sent before is in the socket of a broker that is stopped. */
  async hasLeft(role: ClientRole): Promise<void> {
    const error = await this.client(role).failureOf("flush", { timeoutMs: LEFT_AFTER_MS });
    if (error.code !== "TIMEOUT_FLUSH") throw new Error(`Something answered: ${error.message}`);
  }

  /** Ends all processes: the next play begins anew. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients.values()) await client[Symbol.asyncDispose]();
    this.#clients.clear();
    this.#connected.clear();
    this.#stopped.clear();
    await this.#observer?.close();
    await this.#broker?.[Symbol.asyncDispose]();
    this.#broker = undefined;
    this.#fdsAtRest = undefined;
  }

  #signal(role: Role, signal: NodeJS.Signals): { readonly pid: number } {
    const process = role === "broker" ? this.broker : this.client(role);
    process.kill(signal);
    return process;
  }

  async #enter(role: ClientRole): Promise<void> {
    if (this.#connected.has(role)) return;
    const client = this.#clients.get(role) ?? (await runAs(process.getuid?.() ?? 0));
    this.#clients.set(role, client);
    await client.call("connect", this.broker.path, { reconnect: false });
    this.#connected.add(role);
  }

  async #pendingCalls(): Promise<unknown> {
    for await (const entry of this.#observer?.query("stats") ?? []) {
      if (entry["kind"] === "broker") return (entry["services"] as { pending: number }).pending;
    }
    return undefined;
  }
}
