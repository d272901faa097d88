/**
 * One process of a scenario: started, listened to, ended. A process that ends before its time fails
 * whoever waits for a report of it.
 */

import { join } from "node:path";
import type { RoleReport, WorkOrder } from "./work-order.ts";

type ReportOf<Type extends RoleReport["type"]> = Extract<RoleReport, { type: Type }>;

/** Milliseconds that a process may take beyond the time of its run. */
const GRACE_MS = 20_000;

/** How a role is started. */
interface RoleOptions {
  readonly fds?: readonly number[];
  readonly argument?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly log?: string;
}

/** A running role. Disposing of it ends the process and waits for that. */
export class RoleProcess implements AsyncDisposable {
  readonly #name: string;
  readonly #process: Bun.Subprocess<"ignore", "pipe", "inherit" | Bun.BunFile>;
  readonly #reports = new Map<string, RoleReport>();
  #noteReport = Promise.withResolvers<void>();
  readonly #reading: Promise<void>;
  readonly #deadline: Timer;

  /**
   * @param file below bench/
   * @param options fds: inherited from 3 on, borrowed; argument: a second argument after the order;
   *   environment: added to this process's own; log: a file for its stderr, which is inherited else
   */
  constructor(file: string, order: WorkOrder, options: RoleOptions = {}) {
    this.#name = file;
    const { fds = [], argument = "", environment = {}, log } = options;
    this.#process = Bun.spawn({
      cmd: [process.execPath, join(import.meta.dir, file), JSON.stringify(order), argument],
      stdio: ["ignore", "pipe", log === undefined ? "inherit" : Bun.file(log), ...fds],
      env: { ...process.env, ...environment },
    });
    this.#deadline = setTimeout(() => this.#process.kill("SIGKILL"), order.durationMs + GRACE_MS);
    this.#reading = this.#read();
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Sends a signal. */
  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /**
   * Waits for a report.
   * @throws {Error} where the process ends without it
   */
  async expect<Type extends RoleReport["type"]>(type: Type): Promise<ReportOf<Type>> {
    for (;;) {
      const found = this.#reports.get(type);
      if (found !== undefined) return found as ReportOf<Type>;
      await this.#noteReport.promise;
    }
  }

  /**
   * Waits until the process has ended by itself.
   * @throws {Error} where it did not end well
   */
  async finished(): Promise<void> {
    const exitCode = await this.#process.exited;
    if (exitCode !== 0) throw new Error(`${this.#name} ended with exit code ${exitCode}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#deadline);
    if (this.#process.exitCode === null) this.#process.kill("SIGTERM");
    await this.#process.exited;
    await this.#reading;
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of this.#process.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#take(JSON.parse(line) as RoleReport);
    }
    const ended = this.#noteReport;
    this.#noteReport = Promise.withResolvers();
    this.#noteReport.promise.catch(() => {});
    const error = new Error(`${this.#name} ended without the report that is waited for`);
    this.#noteReport.reject(error);
    ended.resolve();
  }

  #take(report: RoleReport): void {
    this.#reports.set(report.type, report);
    const noted = this.#noteReport;
    this.#noteReport = Promise.withResolvers();
    noted.resolve();
  }
}
