/** The scenarios of strain with next to no input: whoever counts loses nothing, whatever others do. */

import { describe, expect } from "bun:test";
import { measure } from "../../bench/harness.ts";
import { needsRoot, STRAIN_SCENARIOS } from "../../bench/strain-scenarios.ts";
import { testUnless } from "../support/loud-skip.ts";

const LIMITS = { measureMs: 300, warmUpMs: 0, messagesMax: 300, restMsMin: 50 };
const STRETCH_MS = 100;
const CLIENTS = 100;

const TIMEOUT_MS = 90_000;

const isRoot = process.geteuid?.() === 0;

const SHRUNK = STRAIN_SCENARIOS.map((scenario) =>
  scenario.kind === "stall"
    ? { ...scenario, turns: 1, stretchMs: STRETCH_MS }
    : { ...scenario, turns: 1, clients: CLIENTS, residentsOfEachKind: 1 },
);

describe("measure()", () => {
  for (const scenario of SHRUNK) {
    testUnless(
      needsRoot(scenario) && !isRoot,
      "not root",
      `checks every message of "${scenario.name}"`,
      async () => {
        const { checked } = await measure(scenario, LIMITS);
        expect(checked).toBeGreaterThan(0);
      },
      TIMEOUT_MS,
    );
  }
});
