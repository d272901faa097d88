/**
 * Proves the published package: packs it, installs the tarball into a scratch project, checks the
 * types of a program that uses it, runs that program, and runs the installed command.
 *
 * Must not look into src/: what is not in the tarball does not exist here.
 */

import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import manifest from "../package.json" with { type: "json" };

const ROOT = join(import.meta.dir, "..");
const PACKED_FILE =
  /^(package\.json|README\.md|LICENSE|dist\/(index\.js|seqbus\.js|(?:closing|policy-reader)-worker\.js|THIRD-PARTY-LICENSES|types\/.+\.d\.ts))$/;

const scratch = mkdtempSync(join(tmpdir(), "seqbus-package-"));
try {
  installTarball();
  checkInstalledFiles();
  console.log("package: types of a consumer");
  run([join(ROOT, "node_modules/.bin/tsc"), "--project", "."]);
  console.log("package: a consumer publishes and receives");
  run([process.execPath, "consumer.ts"]);
  checkCommand();
  console.log("package: ok");
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

function installTarball(): void {
  console.log("package: pack and install");
  run([process.execPath, "pm", "pack", "--quiet", "--destination", scratch], ROOT, "pipe");
  cpSync(join(ROOT, "test/package/consumer"), scratch, { recursive: true });
  const project = {
    name: "seqbus-consumer",
    private: true,
    type: "module",
    dependencies: { seqbus: `file:./seqbus-${manifest.version}.tgz` },
    devDependencies: { "@types/bun": manifest.devDependencies["@types/bun"] },
  };
  writeFileSync(join(scratch, "package.json"), JSON.stringify(project));
  run([process.execPath, "install", "--silent"]);
}

/** The tarball holds what it should and brings none of our tools along. */
function checkInstalledFiles(): void {
  const home = join(scratch, "node_modules/seqbus");
  const files = [...new Bun.Glob("**").scanSync({ cwd: home, dot: true })];
  // `bun install` leaves a .bun-tag of its own in what it unpacks.
  const unwanted = files.filter((file) => !PACKED_FILE.test(file) && file !== ".bun-tag");
  if (unwanted.length > 0) throw new Error(`The tarball holds ${unwanted.join(", ")}`);

  const installed = readdirSync(join(scratch, "node_modules"));
  const tools = Object.keys(manifest.devDependencies).filter((name) => installed.includes(name));
  if (tools.length > 0) throw new Error(`The package installs ${tools.join(", ")}`);
}

/** The installed command runs, also where a bunfig.toml waits to be executed. */
function checkCommand(): void {
  const command = join(scratch, "node_modules/.bin/seqbus");
  const hostile = join(scratch, "hostile");
  mkdirSync(hostile);
  writeFileSync(join(hostile, "bunfig.toml"), 'preload = ["./preload.ts"]\n');
  writeFileSync(join(hostile, "preload.ts"), "process.exit(66);\n");

  const printed = run([command, "--version"], hostile, "pipe");
  if (printed.trim() !== manifest.version) {
    throw new Error(`seqbus --version prints "${printed.trim()}", wanted "${manifest.version}"`);
  }
  console.log("package: the installed demo");
  run([command, "demo"], hostile);
}

/** Runs a command to its end and returns what it printed, if that was piped. */
function run(command: string[], cwd = scratch, stdout: "inherit" | "pipe" = "inherit"): string {
  const result = Bun.spawnSync(command, { cwd, stdio: ["ignore", stdout, "inherit"] });
  if (result.exitCode !== 0) {
    throw new Error(`${command.join(" ")} ended with ${result.exitCode ?? result.signalCode}`);
  }
  return result.stdout?.toString() ?? "";
}
