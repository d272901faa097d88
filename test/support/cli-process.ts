/** The seqbus command as a process of its own, as people and scripts run it. */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { eventually } from "./eventually.ts";

/** The command line that starts `seqbus` from this checkout. */
export const SEQBUS: readonly string[] = [
  process.execPath,
  "--config=/dev/null",
  "--no-env-file",
  "--no-install",
  join(import.meta.dir, "../../src/cli/main.ts"),
];

/** How a command is run. */
export interface CliOptions {
  /** Added to a small environment; nothing of ours that changes seqbus gets through. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** What it reads; default: nothing, at once at its end. */
  readonly stdin?: string | Uint8Array;
  /** An fd for standard error instead of a collected pipe; borrowed. */
  readonly stderrFd?: number;
  /** Words before the command, such as setpriv and its options; or another command. */
  readonly prefix?: readonly string[];
  readonly command?: readonly string[];
}

/** What a command left behind. */
export interface CliResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running command. Works with `await using`, which kills it. */
export class CliProcess implements AsyncDisposable {
  readonly #child: Subprocess;
  readonly #collected: Promise<unknown>;
  stdout = "";
  stderr = "";

  constructor(words: readonly string[], options: CliOptions = {}) {
    const { env = {}, cwd, stdin, stderrFd, prefix = [], command = SEQBUS } = options;
    const { PATH = "", TMPDIR = tmpdir() } = process.env;
    const child = Bun.spawn([...prefix, ...command, ...words], {
      env: { PATH, TMPDIR, ...env },
      ...(cwd === undefined ? {} : { cwd }),
      stdio: [stdin === undefined ? "ignore" : Buffer.from(stdin), "pipe", stderrFd ?? "pipe"],
    });
    this.#child = child;
    this.#collected = Promise.all([
      collect(child.stdout, (text) => {
        this.stdout += text;
      }),
      collect(child.stderr, (text) => {
        this.stderr += text;
      }),
    ]);
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Waits until standard output holds a text. */
  async printed(text: string): Promise<void> {
    await eventually(
      () => {
        if (this.#child.exitCode !== null) this.#assertPrinted(text);
        return this.stdout.includes(text);
      },
      () => `"${text}" in ${JSON.stringify(this.stdout)}; stderr: ${this.stderr}`,
    );
  }

  /** Waits until standard error holds a text. */
  async logged(text: string): Promise<void> {
    await eventually(
      () => this.stderr.includes(text),
      () => `"${text}" in ${this.stderr}`,
    );
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Waits for its end and all that it printed. */
  async result(): Promise<CliResult> {
    const exitCode = await this.#child.exited;
    await this.#collected;
    return { exitCode, stdout: this.stdout, stderr: this.stderr };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }

  #assertPrinted(text: string): void {
    if (this.stdout.includes(text)) return;
    throw new Error(`Ended with ${this.#child.exitCode} before "${text}": ${this.stderr}`);
  }
}

async function collect(
  stream: ReadableStream<Uint8Array> | number | undefined | null,
  take: (text: string) => void,
): Promise<void> {
  if (!(stream instanceof ReadableStream)) return;
  const decoder = new TextDecoder();
  for await (const chunk of stream) take(decoder.decode(chunk, { stream: true }));
}

/** Runs a command to its end. */
export async function runCli(
  words: readonly string[],
  options: CliOptions = {},
): Promise<CliResult> {
  await using child = new CliProcess(words, options);
  return await child.result();
}

/** A directory that is gone at the end of the block. */
export class TemporaryDirectory implements Disposable {
  readonly path: string = mkdtempSync(join(tmpdir(), "seqbus-test-"));

  /** Path of a file in it. */
  file(name: string): string {
    return join(this.path, name);
  }

  /** Writes a file. @returns its path */
  write(name: string, text: string, mode = 0o644): string {
    writeFileSync(this.file(name), text, { mode });
    return this.file(name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A broker started by `seqbus broker` on a socket of its own. */
export class CliBroker implements AsyncDisposable {
  readonly directory = new TemporaryDirectory();
  readonly socket: string = this.directory.file("bus.sock");
  readonly process: CliProcess;

  private constructor(policy: string | undefined, options: CliOptions, audits: boolean) {
    const words = ["broker", "--socket", this.socket];
    if (audits) words.push("--audit", this.directory.file("audit.log"));
    if (policy !== undefined) words.push("--policy", this.directory.write("policy.toml", policy));
    this.process = new CliProcess(words, options);
  }

  /**
   * Resolves when clients may connect.
   * @param policy TOML; undefined for none
   * @param audits whether it writes an audit log, audit.log in its directory. Default false
   */
  static async start(
    policy?: string,
    options: CliOptions = {},
    audits = false,
  ): Promise<CliBroker> {
    const broker = new CliBroker(policy, options, audits);
    await broker.process.printed(`listening on ${broker.socket}\n`);
    return broker;
  }

  /** Environment for clients of this broker. */
  get env(): { SEQBUS_SOCKET: string } {
    return { SEQBUS_SOCKET: this.socket };
  }

  /** Runs a client command on this bus. */
  run(words: readonly string[], options: CliOptions = {}): Promise<CliResult> {
    return runCli(words, { ...options, env: { ...this.env, ...options.env } });
  }

  /** Starts `seqbus sub`, and waits until its subscription stands. */
  async subscribe(words: readonly string[], options: CliOptions = {}): Promise<CliProcess> {
    const env = { ...this.env, ...options.env };
    const child = new CliProcess(["sub", "--verbose", ...words], { ...options, env });
    await child.logged("subscribed");
    return child;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
    this.directory[Symbol.dispose]();
  }
}

/** Processes whose environment holds a variable, whoever they run as. */
export function processesWith(variable: string): string[] {
  return readdirSync("/proc").filter((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return false;
    try {
      return existsSync(`/proc/${name}/exe`) && environmentOf(name).includes(variable);
    } catch {
      // It ended meanwhile, or is none of our business.
      return false;
    }
  });
}

function environmentOf(pid: string): string {
  return readFileSync(`/proc/${pid}/environ`, "utf8");
}
