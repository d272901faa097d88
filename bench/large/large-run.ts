/** One run: a relay, a publisher and subscribers, each a process; every body is checked. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { openSeqpacketPair } from "../../src/ffi/seqpacket.ts";
import { readCpuMs } from "../process-usage.ts";
import type { LargeOrder, LargeReport, ReceivedBodies } from "./large-order.ts";

/** What is measured; the rest of an order is the run's. */
export type LargeScenario = Omit<LargeOrder, "path" | "windowMessages" | "warmUpMs" | "durationMs">;

/** How long. */
export interface LargeTimes {
  readonly warmUpMs: number;
  /** Milliseconds that count, after the warm-up. */
  readonly measureMs: number;
}

/** What one run gave. */
export interface LargeResult {
  /** Bodies received by all subscribers a second. */
  readonly perSecond: number;
  readonly messages: number;
  /** CPU of the relay for one delivery, microseconds. */
  readonly relayCpuUs: number;
}

/** Bytes that may be under way. */
const WINDOW_BYTES = 16 * 1024 * 1024;

type ReportOf<Type extends LargeReport["type"]> = Extract<LargeReport, { type: Type }>;

class LargeProcess implements AsyncDisposable {
  readonly #name: string;
  readonly #process: Bun.Subprocess;
  readonly #reports: LargeReport[] = [];
  #wake = Promise.withResolvers<void>();

  constructor(name: string, order: LargeOrder, fds: readonly number[] = []) {
    this.#name = name;
    this.#process = Bun.spawn({
      cmd: [process.execPath, join(import.meta.dir, `${name}.ts`), JSON.stringify(order)],
      stdio: ["ignore", "ignore", "inherit", ...fds],
      ipc: (report: LargeReport) => {
        this.#reports.push(report);
        this.#wake.resolve();
      },
      onExit: () => this.#wake.resolve(),
    });
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** @throws {Error} where the process ends without it */
  async expect<Type extends LargeReport["type"]>(type: Type): Promise<ReportOf<Type>> {
    for (;;) {
      const found = this.#reports.find((report) => report.type === type);
      if (found !== undefined) return found as ReportOf<Type>;
      if (this.#process.exitCode !== null) throw new Error(`${this.#name} ended too early`);
      this.#wake = Promise.withResolvers();
      await this.#wake.promise;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
  }
}

/** @throws {Error} where a body was lost or changed, or a process failed */
export async function runLarge(
  scenario: LargeScenario,
  { warmUpMs, measureMs }: LargeTimes,
): Promise<LargeResult> {
  const directory = mkdtempSync(join(tmpdir(), "seqbus-bench-"));
  const windowMessages = Math.max(4, Math.floor(WINDOW_BYTES / scenario.bodyBytes));
  const path = join(directory, "bus.sock");
  const durationMs = warmUpMs + measureMs;
  const order = { ...scenario, path, windowMessages, warmUpMs, durationMs };
  try {
    await using processes = new AsyncDisposableStack();
    const start = (name: string, fds: readonly number[] = []): LargeProcess =>
      processes.use(new LargeProcess(name, order, fds));
    const relay = start(order.relay === "floor" ? "fd-floor-relay" : "broker");
    await relay.expect("ready");
    const pairs = Array.from({ length: order.subscribers }, () => openSeqpacketPair());
    const subscribers = pairs.map(([fd]) => start("subscriber", [fd]));
    await Promise.all(subscribers.map((subscriber) => subscriber.expect("ready")));
    const publisher = start(
      "publisher",
      pairs.map(([, fd]) => fd),
    );
    for (const fd of pairs.flat()) closeFd(fd);
    await subscribers[0]?.expect("warm");
    const cpuFrom = readCpuMs(relay.pid);
    const { messages } = await publisher.expect("published");
    const received = await Promise.all(subscribers.map((each) => each.expect("received")));
    const cpuMs = readCpuMs(relay.pid) - cpuFrom;
    if (received.some((each) => each.messages !== messages)) throw new Error("Bodies were lost");
    const sum = (figure: (each: ReceivedBodies) => number): number =>
      received.reduce((total, each) => total + figure(each), 0);
    return {
      perSecond: sum(({ warmMessages, warmMs }) => (warmMessages / warmMs) * 1000),
      messages,
      relayCpuUs: (cpuMs * 1000) / sum(({ warmMessages }) => warmMessages),
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
