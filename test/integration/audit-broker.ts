/**
 * `seqbus broker --audit` as a process of its own, with what it has written, in a directory that
 * every uid may enter. `await using` kills it and removes the directory.
 */

import { chmodSync, existsSync, readFileSync } from "node:fs";
import { CliProcess, TemporaryDirectory } from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";

/** One line of the audit log. */
export interface AuditLine {
  readonly event: string;
  readonly time: string;
  readonly connection?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly pid?: number;
  readonly groups?: readonly number[];
  readonly exe?: string;
  readonly action?: string;
  readonly topic?: string;
  readonly rule?: string;
  readonly code?: string;
  readonly message?: string;
  readonly socket?: string;
  readonly policy?: string;
  readonly rules?: number;
  readonly suppressed?: number;
  readonly suppressedOthers?: number;
  readonly dropped?: number;
}

/** How an audited broker is started. */
export interface AuditOptions {
  /** TOML; undefined for none. */
  readonly policy?: string;
  /** Where the lines go; default: a file "audit.log" in its directory. */
  readonly audit?: string;
  /** More words of the command line. */
  readonly words?: readonly string[];
  /** An fd for its standard error; borrowed. */
  readonly stderrFd?: number;
  /** Words before the command. */
  readonly prefix?: readonly string[];
}

/** A broker with an audit log. */
export class AuditBroker implements AsyncDisposable {
  readonly directory = new TemporaryDirectory();
  readonly socket: string = this.directory.file("bus.sock");
  /** Path of the log, where it is a file. */
  readonly log: string;
  readonly process: CliProcess;
  /** Where a test reads the lines from another place than the file. */
  text: () => string;

  private constructor(options: AuditOptions) {
    const { policy, words = [], stderrFd, prefix } = options;
    chmodSync(this.directory.path, 0o755);
    this.log = options.audit ?? this.directory.file("audit.log");
    this.text = () => (existsSync(this.log) ? readFileSync(this.log, "utf8") : "");
    const policyWords = policy === undefined ? [] : ["--policy", this.writePolicy(policy)];
    this.process = new CliProcess(
      ["broker", "--socket", this.socket, "--audit", this.log, ...policyWords, ...words],
      {
        ...(stderrFd === undefined ? {} : { stderrFd }),
        ...(prefix === undefined ? {} : { prefix }),
      },
    );
  }

  /** Resolves when clients may connect. */
  static async start(options: AuditOptions = {}): Promise<AuditBroker> {
    const broker = new AuditBroker(options);
    try {
      await broker.process.printed(`listening on ${broker.socket}\n`);
    } catch (error) {
      await broker[Symbol.asyncDispose]();
      throw error;
    }
    return broker;
  }

  /** Writes the policy file. @returns its path */
  writePolicy(toml: string): string {
    return this.directory.write("policy.toml", toml);
  }

  /** The whole lines so far. */
  lines(): AuditLine[] {
    return parseAuditLines(this.text());
  }

  /** Waits for a line. */
  async line(event: string, matches: (line: AuditLine) => boolean = () => true) {
    return await eventually(
      () => this.lines().find((line) => line.event === event && matches(line)),
      () => `a line "${event}" in\n${this.text()}`,
    );
  }

  /** Asks it to end, and waits for that. @returns the exit code */
  async stop(): Promise<number> {
    this.process.signal("SIGTERM");
    return (await this.process.result()).exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
    this.directory[Symbol.dispose]();
  }
}

/** Takes whole lines apart; the last one may be on its way. */
export function parseAuditLines(text: string): AuditLine[] {
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  return whole
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

/** How many events lines stand for: each its own, and those that it counts. */
export function countEvents(lines: readonly AuditLine[]): number {
  return lines.reduce((sum, { event, suppressed = 0, suppressedOthers = 0, dropped = 0 }) => {
    return sum + (event === "suppressed" ? 0 : 1) + suppressed + suppressedOthers + dropped;
  }, 0);
}
