/**
 * Makes a fresh checkout ready: installs what bun.lock names and is missing, and makes sure that
 * the pinned Bun of node_modules runs. Every package script starts with it and then hands over to
 * that pinned Bun, so it does not matter which Bun (of npx, or of the machine) began.
 *
 * Says nothing where nothing is missing, and then needs no network and writes no file.
 * Depends on nothing but Bun, an old one included: must not import from src/ or node_modules/.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import lock from "../bun.lock";
import manifest from "../package.json" with { type: "json" };

const ROOT = join(import.meta.dir, "..");
const PINNED_VERSION = manifest.devDependencies.bun;

bootstrap();

function bootstrap(): void {
  const { platform } = process;
  if (platform !== "linux") stop(`seqbus runs on Linux only, and this is ${platform}`);
  if (missingPackages().length === 0 && pinnedBunRuns()) return;

  console.error(`seqbus: installing the packages of bun.lock (Bun ${Bun.version})`);
  installPackages();
  if (!pinnedBunRuns()) placePinnedBun();
  if (!pinnedBunRuns()) stop(`Bun ${PINNED_VERSION} in node_modules does not run on this machine`);
}

/** Names of the packages that bun.lock asks for on every machine and that are not there. */
function missingPackages(): string[] {
  const missing: string[] = [];
  for (const [path, entry] of Object.entries(lock.packages)) {
    const info = typeof entry[1] === "object" ? entry[1] : entry[2];
    const forSomeMachines = typeof info === "object" && ("os" in info || "cpu" in info);
    if (forSomeMachines) continue;
    const wanted = entry[0].slice(entry[0].lastIndexOf("@") + 1);
    if (installedVersion(path) !== wanted) missing.push(path);
  }
  return missing;
}

/** Version of one installed package; undefined where it is missing. */
function installedVersion(lockPath: string): string | undefined {
  // The lock file writes a package inside another one as "outer/inner", scopes as "@scope/name".
  const names = lockPath.match(/(@[^/]+\/)?[^/]+/g) ?? [];
  const directories = names.flatMap((name) => ["node_modules", name]);
  try {
    return JSON.parse(readFileSync(join(ROOT, ...directories, "package.json"), "utf8")).version;
  } catch {
    return undefined;
  }
}

/** The bun package holds a stub until its install script has run. */
function pinnedBunRuns(): boolean {
  try {
    return run([join(ROOT, "node_modules/.bin/bun"), "--version"]).output === PINNED_VERSION;
  } catch {
    return false;
  }
}

function installPackages(): void {
  // No package of ours needs its install script but bun, and that one asks for a `node` by name.
  const install = ["install", "--frozen-lockfile", "--ignore-scripts"];
  const first = run([process.execPath, ...install]);
  if (first.exitCode === 0) return;
  if (Bun.version === PINNED_VERSION) stop(`bun install failed:\n${first.output}`);
  // An older Bun cannot read the lock file; the pinned one can, and any Bun can fetch that.
  const second = run([process.execPath, "x", `bun@${PINNED_VERSION}`, ...install]);
  if (second.exitCode === 0) return;
  stop(`bun install failed with Bun ${Bun.version}:\n${first.output}
and with Bun ${PINNED_VERSION}:\n${second.output}`);
}

/** Runs the install script of the bun package on the Bun at hand. */
function placePinnedBun(): void {
  const { exitCode, output } = run([process.execPath, join(ROOT, "node_modules/bun/install.js")]);
  if (exitCode !== 0) stop(`the install script of the bun package failed:\n${output}`);
}

function run(command: string[]): { exitCode: number; output: string } {
  const result = Bun.spawnSync(command, { cwd: ROOT, stdout: "pipe", stderr: "pipe" });
  const output = `${result.stdout}${result.stderr}`.trim();
  return { exitCode: result.exitCode ?? 1, output };
}

function stop(reason: string): never {
  console.error(`seqbus: ${reason}`);
  process.exit(1);
}
