/** Where the processes of a round trip run, and that they do. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { canPlace, coreCount, coresOf, readAllowedCores, startOn } from "../../bench/placement.ts";

/** Where a process may run that is started from here. */
function allowedOfChild(): number[] {
  const { stdout } = Bun.spawnSync(["cat", "/proc/self/status"]);
  return readAllowedCores(stdout.toString());
}

describe("readAllowedCores()", () => {
  test("reads single cores and ranges", () => {
    expect(readAllowedCores("Name:\tbun\nCpus_allowed_list:\t0-2,5,7-8\nMems:\t0\n")).toEqual([
      0, 1, 2, 5, 7, 8,
    ]);
  });
});

describe("coresOf()", () => {
  test("names one core for all, or another one for the relay, where there are two", () => {
    const all = readAllowedCores(readFileSync("/proc/self/status", "utf8"));
    expect(coreCount()).toBe(all.length);
    expect(coresOf("unpinned")).toEqual({ relay: all, clients: all });
    expect(coresOf("one core")).toEqual({ relay: [all[0] ?? 0], clients: [all[0] ?? 0] });
    const apart = coresOf("relay apart");
    expect(apart.clients).toEqual([all[0] ?? 0]);
    expect(apart.relay).toEqual([all.at(-1) ?? 0]);
    expect(canPlace("relay apart")).toBe(all.length > 1);
    expect(canPlace("unpinned")).toBe(true);
  });
});

describe("startOn()", () => {
  test("starts processes on the cores that are named, and takes this one back", async () => {
    const before = allowedOfChild();
    const { relay } = coresOf("relay apart");
    expect(await startOn(relay, allowedOfChild)).toEqual([...relay]);
    expect(allowedOfChild()).toEqual(before);
  });

  test("takes this process back where the start fails", async () => {
    const before = allowedOfChild();
    const failed = startOn(coresOf("one core").relay, () => Promise.reject(new Error("no start")));
    expect(await failed.catch((error: Error) => error.message)).toBe("no start");
    expect(allowedOfChild()).toEqual(before);
  });
});
