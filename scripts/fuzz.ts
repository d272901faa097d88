/**
 * Runs every fuzzer of test/fuzz/ one after the other, until one of them finds something.
 * Arguments go to each of them: `bun run fuzz --seconds 60 --seed 7`.
 */

import { join } from "node:path";

const ROOT = join(import.meta.dir, "..");
const fuzzers = [...new Bun.Glob("test/fuzz/*.fuzz.ts").scanSync({ cwd: ROOT })].sort();

if (fuzzers.length === 0) throw new Error("Cannot fuzz: there is no test/fuzz/*.fuzz.ts");
for (const fuzzer of fuzzers) {
  console.log(fuzzer);
  const { exitCode } = Bun.spawnSync([process.execPath, fuzzer, ...process.argv.slice(2)], {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (exitCode !== 0) process.exit(exitCode);
}
