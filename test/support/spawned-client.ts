/** Starts client-process.ts and drives it; `await using` ends it. */

import type { ConnectOptions } from "../../src/client/connect.ts";
import type { ClientAnswer, ClientCall, ClientCommands, ReportedError } from "./client-process.ts";

type Command = keyof ClientCommands;
type Result<Name extends Command> = Awaited<ReturnType<ClientCommands[Name]>>;

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** A command failed inside the client process; `cause` is the error as it was there. */
export class ClientProcessError extends Error {
  override readonly name = "ClientProcessError";
  readonly reported: ReportedError;

  constructor(reported: ReportedError) {
    super(`${reported.name}: ${reported.message}`);
    this.reported = reported;
  }
}

/**
 * Starts a client process as this uid, with a primary group of the same number and no others.
 * @param uid needs root unless it is the own
 */
export async function runAs(uid: number): Promise<SpawnedClient> {
  const client = new SpawnedClient();
  await client.ready;
  if (uid !== process.getuid?.()) await client.call("become", { uid, gid: uid, groups: [] });
  return client;
}

/** As runAs(), connected to a bus. @param options plain data */
export async function connectAs(
  uid: number,
  path: string,
  options: ConnectOptions = {},
): Promise<SpawnedClient> {
  const client = await runAs(uid);
  await client.call("connect", path, options);
  return client;
}

/** A client process. */
export class SpawnedClient implements AsyncDisposable {
  /** Resolves when the process takes calls. */
  readonly ready: Promise<unknown>;
  readonly pid: number;
  readonly #child: Bun.Subprocess;
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;

  constructor() {
    this.ready = new Promise((resolve, reject) => this.#waiting.set(0, { resolve, reject }));
    this.#child = Bun.spawn([process.execPath, `${import.meta.dir}/client-process.ts`], {
      stdin: "ignore",
      stdout: "inherit",
      stderr: "inherit",
      ipc: (answer: ClientAnswer) => this.#settle(answer),
      onExit: () => this.#rejectAll(),
    });
    this.pid = this.#child.pid;
  }

  /** Runs one command there. @throws {ClientProcessError} what it threw */
  async call<Name extends Command>(
    command: Name,
    ...args: Parameters<ClientCommands[Name]>
  ): Promise<Result<Name>> {
    this.#calls += 1;
    const id = this.#calls;
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#child.send({ id, command, args } satisfies ClientCall);
    return (await answer) as Result<Name>;
  }

  /** Runs one command that must fail. @returns its error */
  async failureOf<Name extends Command>(
    command: Name,
    ...args: Parameters<ClientCommands[Name]>
  ): Promise<ReportedError> {
    try {
      await this.call(command, ...args);
    } catch (error) {
      if (error instanceof ClientProcessError) return error.reported;
      throw error;
    }
    throw new Error(`${command} did not fail`);
  }

  /** Sends a signal. */
  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGKILL");
    await this.#child.exited;
  }

  #settle({ id, result, error }: ClientAnswer): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new ClientProcessError(error));
  }

  #rejectAll(): void {
    for (const waiting of this.#waiting.values()) waiting.reject(new Error("The client is gone"));
    this.#waiting.clear();
  }
}
