/** Which scenarios run: those that are asked for, of those that can. Whoever is absent is named. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { selectScenarios } from "../../bench/contestants.ts";
import { isPeer, PEER_KINDS } from "../../bench/peers/peer-kinds.ts";

const MAIN = join(import.meta.dir, "../../bench/main.ts");

describe("selectScenarios()", () => {
  test("leaves peers out that were not asked for, and says so", () => {
    const { scenarios, absent } = selectScenarios("", { peers: false, compare: true });
    expect(scenarios.length).toBeGreaterThan(0);
    expect(scenarios.filter(({ relay }) => isPeer(relay))).toEqual([]);
    expect(absent).toContain(`${PEER_KINDS.join(", ")} (not asked for: --peers)`);
  });

  test("names each peer as present or absent, and runs those that are present alone", () => {
    const { scenarios, present, absent } = selectScenarios("", { peers: true, compare: true });
    for (const peer of PEER_KINDS) {
      const isAbsent = absent.some((words) => words.startsWith(`${peer} (`));
      const isPresent = present.some((words) => words.startsWith(`${peer} `));
      expect([isAbsent, isPresent].filter(Boolean), peer).toHaveLength(1);
      expect(scenarios.some(({ relay }) => relay === peer)).toBe(isPresent);
    }
  });

  test("takes the baselines of those that a filter names, and theirs", () => {
    const name = "1 to 1, library, async iterator";
    const { scenarios } = selectScenarios(name, { peers: false, compare: false });
    expect(scenarios.map((scenario) => scenario.name)).toEqual([
      "1 to 1, 64 KiB packets, floor",
      "1 to 1, library",
      name,
    ]);
  });

  test("leaves out what is not compared where only comparisons are wanted", () => {
    const all = selectScenarios("policy", { peers: false, compare: false }).scenarios;
    expect(all.length).toBeGreaterThan(0);
    expect(selectScenarios("policy", { peers: false, compare: true }).scenarios).toEqual([]);
  });
});

describe("bench/main.ts", () => {
  test("goes on without a compiler and without peers where none is in PATH", async () => {
    const listing = Bun.spawn({
      cmd: [process.execPath, MAIN, "--list", "--compare", "--peers"],
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, PATH: "/nonexistent" },
    });
    const names = await new Response(listing.stdout).text();
    expect(await listing.exited).toBe(0);
    expect(names).toContain("1 to 1, 64 B: seqbus, raw\n");
    expect(names).toContain("1 to 1, 64 B: floor in TypeScript\n");
    expect(names).not.toMatch(/floor in C|redis|nats|mosquitto|dbus-broker, raw|zeromq/);
  });
});
