/** Every kind of run of bench/large with next to no input: each body is checked, no figure is. */

import { describe, expect, test } from "bun:test";
import { type LargeScenario, runLarge } from "../../bench/large/large-run.ts";

const TIMES = { warmUpMs: 0, measureMs: 50 };
const TIMEOUT_MS = 90_000;

const KINDS: readonly Pick<LargeScenario, "reading" | "isShared">[] = [
  { reading: "every byte", isShared: false },
  { reading: "only mapped", isShared: false },
  { reading: "only mapped", isShared: true },
];

describe("runLarge()", () => {
  for (const relay of ["floor", "library"] as const) {
    test.each(KINDS)(
      `checks every body by way of the ${relay}: %o`,
      async (kind) => {
        const scenario = { ...kind, relay, bodyBytes: 256 * 1024, subscribers: 2 };
        const { messages, perSecond } = await runLarge(scenario, TIMES);
        expect(messages).toBeGreaterThan(0);
        expect(perSecond).toBeGreaterThan(0);
      },
      TIMEOUT_MS,
    );
  }
});
