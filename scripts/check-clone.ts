/**
 * Proves the first two commands of the README: puts what is committed into an empty directory and
 * runs them there with nothing installed. Once with npm and without Bun, once with Bun and without
 * Node, and, where root asks, once as an ordinary user. Each must end by itself with exit code 0
 * and leave nothing behind.
 */

import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findLeftovers } from "./leftovers.ts";

/** A machine as a newcomer has it. */
interface Machine {
  /** For people, and for the directory of the clone. */
  readonly name: string;
  /** What runs a package script there. */
  readonly bun: readonly string[];
  /** Value of PATH. */
  readonly path: string;
  /** Undefined: the user who runs this. */
  readonly uid?: number;
}

const ROOT = join(import.meta.dir, "..");
const RUNTIMES = ["node", "nodejs", "npm", "npx", "corepack", "bun", "bunx"];
/** The whole test suite is .ci/run's work; here only the way to it is in question. */
const FEW_TESTS = "test/unit/scripts";
const ORDINARY_UID = 12345;

const scratch = mkdtempSync(join(tmpdir(), "seqbus-"));
chmodSync(scratch, 0o755);
const temporary = join(scratch, "tmp");
mkdirSync(temporary);
chmodSync(temporary, 0o1777);
try {
  for (const machine of machines()) tryCommands(machine);
  console.log("clone: ok");
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

function machines(): Machine[] {
  const tools = linkTools();
  const npm = linkRuntime("npm", { node: which("node"), npm: which("npm"), npx: which("npx") });
  const bun = linkRuntime("bun", { bun: process.execPath });
  const npx = ["npx", "--yes", "bun"];
  const found: Machine[] = [
    { name: "npm", bun: npx, path: `${npm}:${tools}` },
    { name: "Bun", bun: ["bun"], path: `${bun}:${tools}` },
  ];
  if (process.getuid?.() === 0) {
    found.push({ name: "npm-as-user", bun: npx, path: `${npm}:${tools}`, uid: ORDINARY_UID });
  }
  return found;
}

function tryCommands({ name, bun, path, uid }: Machine): void {
  const home = join(scratch, name);
  const clone = join(home, "clone");
  // Nobody else may enter: the demo must manage where its other users cannot read the code.
  mkdirSync(home, { mode: 0o700 });
  copyCommitted(clone);
  const environment: Record<string, string> = { PATH: path, TMPDIR: temporary };
  let prefix: string[] = [];
  if (uid !== undefined) {
    for (const directory of [home, clone]) chownSync(directory, uid, uid);
    environment["HOME"] = home;
    prefix = ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", "--"];
  }
  for (const command of [["start"], ["run", "test", FEW_TESTS]]) {
    const line = [...bun, ...command];
    console.log(`clone: ${name}: ${line.join(" ")}`);
    run([...prefix, ...line], { cwd: clone, environment });
    const leftovers = findLeftovers(temporary, clone);
    if (leftovers.length > 0) throw new Error(`Left behind: ${leftovers.join(", ")}`);
  }
}

/** What a clone would hold; `git clone` itself refuses a checkout that belongs to another user. */
function copyCommitted(clone: string): void {
  const archive = `${clone}.tar`;
  const git = ["git", "-c", `safe.directory=${ROOT}`, "archive", `--output=${archive}`, "HEAD"];
  run(git, { cwd: ROOT });
  mkdirSync(clone);
  run(["tar", "-xf", archive], { cwd: clone });
}

/** A directory with all commands of the system but those that run JavaScript. */
function linkTools(): string {
  const tools = join(scratch, "tools");
  mkdirSync(tools);
  const seen = new Set(RUNTIMES);
  for (const directory of ["/usr/local/bin", "/usr/bin", "/bin"]) {
    for (const name of readdirSync(directory)) {
      if (seen.has(name)) continue;
      seen.add(name);
      symlinkSync(join(directory, name), join(tools, name));
    }
  }
  return tools;
}

function linkRuntime(name: string, commands: Record<string, string>): string {
  const directory = join(scratch, `runtime-${name}`);
  mkdirSync(directory);
  for (const [command, target] of Object.entries(commands)) {
    symlinkSync(target, join(directory, command));
  }
  return directory;
}

function which(command: string): string {
  const path = Bun.which(command);
  if (path === null) throw new Error(`Cannot check a clone: ${command} is not installed`);
  return path;
}

function run(
  command: string[],
  { cwd, environment = {} }: { cwd: string; environment?: Record<string, string> },
): void {
  // Variables that the package script around us has set do not belong to a fresh machine.
  const foreign = /^(npm_.*|NODE|INIT_CWD)$/;
  const inherited = Object.entries(process.env).filter(([name]) => !foreign.test(name));
  const result = Bun.spawnSync(command, {
    cwd,
    env: { ...Object.fromEntries(inherited), ...environment },
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (result.exitCode !== 0) {
    throw new Error(`${command.join(" ")} ended with ${result.exitCode ?? result.signalCode}`);
  }
}
