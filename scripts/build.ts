/**
 * Builds dist/, all that the published package holds beside its manifest:
 *
 *   dist/index.js               the client library; msgpackr stays an import
 *   dist/types/                 its declarations, without those of modules that users cannot reach
 *   dist/seqbus.js              the command with everything it needs but msgpackr
 *   dist/closing-worker.js      a thread of the command's
 *   dist/policy-reader-worker.js   another one
 *   dist/THIRD-PARTY-LICENSES   licenses of the packages that are inside dist/seqbus.js
 *
 * Runs before every `bun pm pack`. Must not add anything that the checkout cannot run without.
 */

import { readdirSync, readFileSync, rmSync } from "node:fs";
import { isBuiltin } from "node:module";
import { basename, dirname, join } from "node:path";

const ROOT = join(import.meta.dir, "..");
/** Threads of the command's: each stands beside it as a file of its own. */
const WORKERS = ["src/broker/closing/closing-worker.ts", "src/cli/policy-reader-worker.ts"];
const DIST = join(ROOT, "dist");
/** What the bundles may import when they run, beside what is built into Bun. */
const RUNTIME_DEPENDENCIES = ["msgpackr"];
/**
 * Both a shell script and a module. The shell starts Bun so that it neither runs the bunfig.toml
 * nor reads the .env of the caller's directory; `env -S` could do that too, but busybox has none.
 */
const COMMAND_HEADER = `#!/bin/sh
':' //; exec bun --config=/dev/null --no-env-file --no-install "$0" "$@"
`;

await build();

async function build(): Promise<void> {
  rmSync(DIST, { recursive: true, force: true });
  const library = await bundle("src/client/index.ts");
  await Bun.write(join(DIST, "index.js"), library.code);

  const command = await bundle("src/cli/main.ts");
  const body = command.code.replace(/^#!.*\n/, "");
  await Bun.write(join(DIST, "seqbus.js"), COMMAND_HEADER + body, { mode: 0o755 });

  const workers = await Promise.all(WORKERS.map(bundle));
  for (const [at, worker] of workers.entries()) {
    const name = basename(WORKERS[at] ?? "", ".ts");
    await Bun.write(join(DIST, `${name}.js`), worker.code);
  }

  const bundles = [library, command, ...workers];
  const packages = [...new Set(bundles.flatMap((each) => each.packages))].sort();
  await Bun.write(join(DIST, "THIRD-PARTY-LICENSES"), packages.map(licenseOf).join("\n"));
  emitDeclarations();
}

/** One file of JavaScript, and the directories in node_modules that went into it. */
async function bundle(entry: string): Promise<{ code: string; packages: string[] }> {
  const { outputs, metafile } = await Bun.build({
    entrypoints: [join(ROOT, entry)],
    root: ROOT,
    target: "bun",
    external: RUNTIME_DEPENDENCIES,
    metafile: true,
  });
  const [output, ...others] = outputs;
  if (output === undefined || metafile === undefined || others.length > 0) {
    throw new Error(`Cannot bundle ${entry}: ${outputs.length} files came out, wanted 1`);
  }
  const packages = new Set<string>();
  for (const [path, input] of Object.entries(metafile.inputs)) {
    const name = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[0];
    if (name !== undefined) packages.add(name);
    const missing = input.imports.find((used) => used.external && !isPresent(used.path));
    if (missing !== undefined) {
      throw new Error(`Cannot bundle ${entry}: ${path} needs ${missing.path} when it runs`);
    }
  }
  return { code: await output.text(), packages: [...packages] };
}

/** Whether an import can be resolved where nothing but the package and its dependency are. */
function isPresent(target: string): boolean {
  const [packageName = ""] = target.split("/");
  return isBuiltin(target) || RUNTIME_DEPENDENCIES.includes(packageName);
}

/** Name, version and license text of an installed package. */
function licenseOf(directory: string): string {
  const home = join(ROOT, directory);
  const { name, version, license } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
  const files = readdirSync(home).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file));
  if (files.length === 0) throw new Error(`Cannot bundle ${name}: no license file in ${directory}`);
  const texts = files.map((file) => readFileSync(join(home, file), "utf8").trim());
  const title = `${name} ${version} (${license})`;
  return `${title}\n${"=".repeat(title.length)}\n\n${texts.join("\n\n")}\n`;
}

function emitDeclarations(): void {
  const compiler = join(ROOT, "node_modules/.bin/tsc");
  const { exitCode } = Bun.spawnSync([compiler, "--project", "tsconfig.build.json"], {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (exitCode !== 0) throw new Error(`Cannot emit declarations: tsc ended with ${exitCode}`);

  const types = join(DIST, "types");
  const reachable = reachableFrom(join(types, "client/index.d.ts"));
  for (const path of new Bun.Glob("**/*.d.ts").scanSync({ cwd: types, absolute: true })) {
    if (!reachable.has(path)) rmSync(path);
  }
}

/** The declaration file itself and all that it names, directly or not. */
function reachableFrom(entry: string): Set<string> {
  const reached = new Set([entry]);
  // A set iterates over what is added to it on the way.
  for (const path of reached) {
    const text = readFileSync(path, "utf8");
    for (const [, target = ""] of text.matchAll(/(?:\bfrom|\bimport\(?)\s*"(\.[^"]+)\.ts"/g)) {
      reached.add(`${join(dirname(path), target)}.d.ts`);
    }
  }
  return reached;
}
