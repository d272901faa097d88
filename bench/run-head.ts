/** Where figures come from: the machine, the versions of all, the command. No figure goes without. */

import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import manifest from "../package.json" with { type: "json" };

const CHECKOUT = join(import.meta.dir, "..");

/** The machine that this process runs on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly bun: string;
}

/** What of seqbus is measured. */
export interface Checkout {
  readonly version: string;
  /** Absent outside of a git checkout. */
  readonly commit?: string;
  /** Whether files that git knows differ from that commit. */
  readonly isChanged: boolean;
}

/** What stands above the figures of one run. */
export interface RunHead {
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly seqbus: Checkout;
  readonly machine: Machine;
  readonly command: string;
  /** Who takes part, with versions. */
  readonly present: readonly string[];
  /** Who does not, and why. */
  readonly absent: readonly string[];
}

/** The machine that this process runs on. */
export function describeMachine(): Machine {
  const [first] = cpus();
  return {
    cpu: first?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryGib: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    kernel: `Linux ${release()} ${process.arch}`,
    bun: Bun.version,
  };
}

/** The checkout that this file belongs to. */
export function describeCheckout(): Checkout {
  const { version } = manifest;
  const commit = git("rev-parse", "HEAD");
  if (commit === undefined) return { version, isChanged: false };
  return { version, commit, isChanged: git("status", "--porcelain", "-uno") !== "" };
}

/** What a git command prints; undefined where there is no git, or no checkout. */
function git(...command: string[]): string | undefined {
  if (Bun.which("git") === null) return undefined;
  const { exitCode, stdout } = Bun.spawnSync(["git", "-C", CHECKOUT, ...command], {
    stderr: "ignore",
  });
  return exitCode === 0 ? stdout.toString().trim() : undefined;
}

/** The head as lines, the machine first. */
export function headLines({ startedAt, seqbus, machine, command, present, absent }: RunHead) {
  const { cpu, cores, memoryGib, kernel, bun } = machine;
  return [
    `${cores} x ${cpu}, ${memoryGib} GiB, ${kernel}, Bun ${bun}`,
    `seqbus ${seqbus.version}, ${commitWords(seqbus)}`,
    `${startedAt.slice(0, 16).replace("T", " ")} UTC, ${command}`,
    ...(present.length > 0 ? [`present: ${present.join(", ")}`] : []),
    ...absent.map((name) => `absent: ${name}`),
  ];
}

function commitWords({ commit, isChanged }: Checkout): string {
  if (commit === undefined) return "no commit known";
  return `commit ${commit.slice(0, 12)}${isChanged ? " with changes" : ""}`;
}
