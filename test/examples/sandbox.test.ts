/** The example with a sandbox, as its README tells it, with all of its users. */

import { expect } from "bun:test";
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { CliProcess, runCli, TemporaryDirectory } from "../support/cli-process.ts";
import { testUnless } from "../support/loud-skip.ts";

const EXAMPLE = join(import.meta.dir, "../../examples/sandbox");
/** The users of the example's policy. */
const OPENER = as(60711);
const WORKER = as(60712);
/** More than one read of the library brings. */
const REPORT = Array.from({ length: 20_000 }, (_, line) => `Line ${line}.\n`).join("");
const LACKING = lackingMeans();

function as(uid: number): string[] {
  return ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
}

/** Why a sandbox cannot be made here. Containers often forbid user namespaces or a /proc in them. */
function lackingMeans(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root for setpriv";
  const options = ["--unshare-all", "--cap-drop", "ALL", "--ro-bind", "/", "/", "--proc", "/proc"];
  const [setpriv = "", ...words] = [...WORKER, "bwrap", ...options, "true"];
  const { status, stderr, error } = spawnSync(setpriv, words, { encoding: "utf8" });
  if (status === 0) return undefined;
  return `bubblewrap (Debian package bubblewrap) does not work here: ${error ?? stderr.trim()}`;
}

/** A broker with the example's policy, and a directory with things to ask for. */
class Surroundings implements AsyncDisposable {
  readonly directory = new TemporaryDirectory();
  readonly bus: string = this.directory.file("bus");
  readonly inbox: string = this.directory.file("inbox");
  readonly env = { SEQBUS_SOCKET: join(this.bus, "bus.sock"), SECRET: "unheard" };
  readonly broker: CliProcess;

  constructor() {
    chmodSync(this.directory.path, 0o755);
    for (const path of [this.bus, this.inbox]) mkdirSync(path, { mode: 0o755 });
    this.directory.write("inbox/report.txt", REPORT);
    this.directory.write("private.txt", "not for sandboxes");
    symlinkSync("../private.txt", join(this.inbox, "link"));
    mkdirSync(join(this.inbox, "directory"));
    spawnSync("mkfifo", [join(this.inbox, "fifo")]);
    // A copy: a policy must belong to root, and a checkout may belong to anybody.
    const policy = this.directory.file("policy.toml");
    copyFileSync(join(EXAMPLE, "policy.toml"), policy);
    chmodSync(policy, 0o644);
    this.broker = new CliProcess(["broker", "--policy", policy], { env: this.env });
  }

  /** Resolves when clients may connect. */
  static async start(): Promise<Surroundings> {
    const surroundings = new Surroundings();
    await surroundings.broker.printed("listening on");
    return surroundings;
  }

  /** Starts the opener, and waits until it serves. */
  async startOpener(grants: readonly string[]): Promise<CliProcess> {
    const command = [process.execPath, join(EXAMPLE, "opener.ts"), ...grants];
    const opener = new CliProcess([], { env: this.env, prefix: OPENER, command });
    await opener.printed("serves files.open");
    return opener;
  }

  /** Runs the worker to its end. */
  async work(names: readonly string[]) {
    const command = [join(EXAMPLE, "worker.sh"), this.bus, ...names];
    return await runCli([], { env: this.env, prefix: WORKER, command });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.broker[Symbol.asyncDispose]();
    this.directory[Symbol.dispose]();
  }
}

testUnless(
  LACKING !== undefined,
  LACKING ?? "",
  "a worker in a sandbox reads the file that an opener hands in, and opens nothing itself",
  async () => {
    await using surroundings = await Surroundings.start();
    await using opener = await surroundings.startOpener([`60712=${surroundings.inbox}`]);
    const names = ["report.txt", "link", "directory", "fifo", "..", "../private.txt", "none"];
    const { stdout, stderr, exitCode } = await surroundings.work(names);
    expect(stderr).toBe("");
    expect(stdout).toBe(`sees /app /bus /lib /lib64 /proc
cannot open /etc/passwd: ENOENT
cannot list /home: ENOENT
cannot list /root: ENOENT
cannot list /tmp: ENOENT
cannot list /dev: ENOENT
cannot open /proc/1/root/etc/passwd: ENOENT
cannot write /kept: EROFS
cannot write /bus/kept: EROFS
cannot find a network: NONE
cannot find a variable of those who started it: NONE
is uid 1000 in here and uid 60712 on the bus
cannot take the opener's place: REJECTED_BY_POLICY
cannot listen to others: REJECTED_BY_POLICY
got "report.txt" from uid 60711, file-read-only:
${REPORT}
cannot write to it: EBADF
cannot open it anew for writing: EACCES
got no "link": NOT_FOUND
got no "directory": NOT_A_FILE
got no "fifo": NOT_A_FILE
got no "..": NOT_A_FILE
got no "../private.txt": BAD_NAME
got no "none": NOT_FOUND
`);
    expect(exitCode).toBe(0);
    const requests = opener.stdout.split("\n").filter((line) => line.includes("uid"));
    expect(requests).toHaveLength(names.length);
    for (const line of requests) expect(line).toContain(" uid 60712, pid ");
    expect(readFileSync(join(surroundings.inbox, "report.txt"), "utf8")).toBe(REPORT);
  },
);

testUnless(
  LACKING !== undefined,
  LACKING ?? "",
  "an opener opens nothing for a user whom it was not told of",
  async () => {
    await using surroundings = await Surroundings.start();
    await using _opener = await surroundings.startOpener([`60713=${surroundings.inbox}`]);
    const { stdout, exitCode } = await surroundings.work(["report.txt"]);
    expect(stdout).toEndWith('\ngot no "report.txt": NOT_ALLOWED\n');
    expect(exitCode).toBe(0);
  },
);

testUnless(
  process.getuid?.() !== 0,
  "needs root to be refused",
  "worker.sh makes no sandbox for root",
  async () => {
    const command = [join(EXAMPLE, "worker.sh"), "/nowhere"];
    const { stderr, exitCode } = await runCli([], { command });
    expect(stderr).toBe("worker.sh: must not run as root\n");
    expect(exitCode).toBe(1);
  },
);
