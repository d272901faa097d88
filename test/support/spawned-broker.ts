/**
 * A real broker process in a temporary directory of its own, for `await using`. At the end of the
 * block it is killed and everything of it removed.
 */

import { chmodSync, chownSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BrokerEvent } from "../../src/broker/events.ts";
import type { BrokerProcessOptions } from "./broker-process.ts";
import { eventually } from "./eventually.ts";
import { countFds, countWorkers } from "./open-files.ts";

/** What broker-process.ts reports: an event of the broker, or that it could not start. */
export type ReportedEvent =
  | BrokerEvent
  | { readonly type: "failed"; name: string; code?: string; message: string };

/** What it answers to a question for everything that it reported so far. */
interface Mark {
  readonly type: "mark";
  readonly number: number;
}

/** Choices for one broker. */
export type SpawnOptions = Omit<BrokerProcessOptions, "path"> & {
  /** Reuse this path, which somebody else cleans up. Default: a new temporary directory. */
  readonly path?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** RLIMIT_NOFILE of the process, soft and hard. Default: as this process has it. */
  readonly openFilesMax?: number;
  /** The same, the soft one alone. */
  readonly openFilesSoft?: number;
};

/** Each takes at least a turn of the broker, in which it sees who has gone. */
const ANSWERS_AT_REST = 3;

type Child = Bun.Subprocess<"pipe", "ignore", "pipe">;

/**
 * Starts a broker and waits until clients can connect.
 * @throws {Error} where it fails to start, with what it reported
 */
export async function spawnBroker(options: SpawnOptions = {}): Promise<SpawnedBroker> {
  const broker = startBroker(options);
  const isKnown = () => broker.find("listening") ?? broker.find("failed");
  const event = await eventually(isKnown, "the broker started or failed");
  if (event.type === "listening") return broker;
  await broker[Symbol.asyncDispose]();
  throw new Error(`The broker failed: ${JSON.stringify(event)}`);
}

/** Starts a broker that may well fail; its events tell. */
export function startBroker(options: SpawnOptions = {}): SpawnedBroker {
  const { path, env, openFilesMax, openFilesSoft, ...rest } = options;
  const directory = path === undefined ? makeDirectory(options.uid) : undefined;
  const socketPath = path ?? join(directory ?? "", "bus.sock");
  const processOptions: BrokerProcessOptions = { ...rest, path: socketPath };
  const script = `${import.meta.dir}/broker-process.ts`;
  const limit = openFilesMax === undefined ? "" : `ulimit -n ${openFilesMax} && `;
  const softLimit = openFilesSoft === undefined ? "" : `ulimit -Sn ${openFilesSoft} && `;
  const shell = ["sh", "-c", `${limit}${softLimit}exec "$@"`, "sh"];
  const command = [...shell, process.execPath, script, JSON.stringify(processOptions)];
  const child = Bun.spawn(command, {
    env: { ...process.env, ...env },
    stdin: "pipe",
    stdout: "ignore",
    stderr: "pipe",
  });
  return new SpawnedBroker(socketPath, directory, child);
}

/** A broker process. */
export class SpawnedBroker implements AsyncDisposable {
  readonly path: string;
  readonly pid: number;
  /** All that it reported so far, oldest first. */
  readonly events: ReportedEvent[] = [];
  /** Lines on stderr that are not events: crashes end up here. */
  readonly complaints: string[] = [];
  readonly #directory: string | undefined;
  readonly #child: Child;
  readonly #reading: Promise<void>;
  /** The last mark that was asked for, and the last that came. */
  #marksAsked = 0;
  #marksSeen = 0;

  constructor(path: string, directory: string | undefined, child: Child) {
    this.path = path;
    this.pid = child.pid;
    this.#directory = directory;
    this.#child = child;
    this.#reading = this.#readEvents();
  }

  /** The first event of a type that came here by now. */
  find<Type extends ReportedEvent["type"]>(
    type: Type,
  ): Extract<ReportedEvent, { type: Type }> | undefined {
    return this.findAll(type)[0];
  }

  /**
   * All events of a type that the broker had reported when it was asked: none is on its way still. For
   * what must have happened, or must not, by now.
   */
  async reportedSoFar<Type extends ReportedEvent["type"]>(
    type: Type,
  ): Promise<Extract<ReportedEvent, { type: Type }>[]> {
    await this.#answer();
    return this.findAll(type);
  }

  /** All events of a type that came here by now; more may be on their way. */
  findAll<Type extends ReportedEvent["type"]>(
    type: Type,
  ): Extract<ReportedEvent, { type: Type }>[] {
    return this.events.filter(
      (event): event is Extract<ReportedEvent, { type: Type }> => event.type === type,
    );
  }

  /**
   * Open fds of the process once it has let go of the clients that have gone, such as those of the test
   * before: what expectFds() is to find again.
   */
  async fdsAtRest(): Promise<number> {
    let count = this.countFds();
    for (let same = 0; same < ANSWERS_AT_REST; same += 1) {
      await this.#answer();
      const next = this.countFds();
      if (next !== count) same = 0;
      count = next;
    }
    return count;
  }

  /** Open fds of the process, counted in /proc/PID/fd, without those of its closing threads' loops. */
  countFds(): number {
    return countFds(this);
  }

  /** Workers of the process: threads that close fds. */
  countWorkers(): number {
    return countWorkers(this);
  }

  /** Waits until the process has exactly so many fds, which proves that none leaked. */
  async expectFds(count: number): Promise<void> {
    const what = () => `the broker has ${count} fds, it has ${this.countFds()}`;
    await eventually(() => this.countFds() === count, what);
  }

  /** Sends a signal. */
  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** SIGTERM, and the exit code once it has ended and all events are read. */
  async stop(): Promise<number> {
    this.kill("SIGTERM");
    return await this.exited();
  }

  /** The exit code; all events are read by then. */
  async exited(): Promise<number> {
    const code = await this.#child.exited;
    await this.#reading;
    return code;
  }

  /** Kills it if need be and removes its directory. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGKILL");
    await this.exited();
    if (this.#directory !== undefined) rmSync(this.#directory, { recursive: true, force: true });
    if (this.complaints.length > 0) throw new Error(this.complaints.join("\n"));
  }

  /** Asks the broker for a sign, which comes behind all that it reported before. */
  async #answer(): Promise<void> {
    this.#marksAsked += 1;
    const mark: Mark = { type: "mark", number: this.#marksAsked };
    this.#child.stdin.write(`${JSON.stringify(mark)}\n`);
    this.#child.stdin.flush();
    await eventually(() => this.#marksSeen >= mark.number, "the broker gave a sign");
  }

  async #readEvents(): Promise<void> {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const chunk of this.#child.stderr) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line.startsWith("{")) this.#note(JSON.parse(line));
        else this.complaints.push(line);
      }
    }
  }

  #note(event: ReportedEvent | Mark): void {
    if (event.type === "mark") this.#marksSeen = event.number;
    else this.events.push(event);
  }
}

/** Every uid may enter; the broker's owns it. */
function makeDirectory(uid: number | undefined): string {
  const directory = mkdtempSync(join(tmpdir(), "seqbus-test-"));
  chmodSync(directory, 0o755);
  if (uid !== undefined) chownSync(directory, uid, uid);
  return directory;
}
