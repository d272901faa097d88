/** Every micro benchmark once: its parts are still there, and do not throw. No figure is looked at. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";

const BENCH = join(import.meta.dir, "../../bench");
const FILES = [...new Bun.Glob("*.bench.ts").scanSync({ cwd: BENCH })].sort();

const TIMEOUT_MS = 60_000;

describe("micro benchmarks", () => {
  test("are found", () => {
    expect(FILES).toContain("codec.bench.ts");
  });

  test.each(FILES)(
    "%s works",
    async (file) => {
      const bench = Bun.spawn({
        cmd: [process.execPath, join(BENCH, file), "--once"],
        stdio: ["ignore", "pipe", "inherit"],
      });
      const printed = await new Response(bench.stdout).text();
      expect(await bench.exited).toBe(0);
      expect(printed).toContain("once: ");
    },
    TIMEOUT_MS,
  );
});
