/** Round trips of several processes: the report of the last one is about all of them. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadSamples, saveSamples } from "../../bench/kept-samples.ts";

let directory = "";

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "seqbus-samples-"));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe("loadSamples()", () => {
  test("finds none where nobody has kept any", () => {
    const target = new Float64Array(4);
    expect(loadSamples(join(directory, "samples"), target)).toBe(0);
    expect([...target]).toEqual([0, 0, 0, 0]);
  });

  test("finds those that were kept last, in front of what is to come", () => {
    const path = join(directory, "samples");
    saveSamples(path, Float64Array.of(0.5));
    saveSamples(path, Float64Array.of(0.02, 0.5, 7).subarray(0, 2));
    const target = new Float64Array(4);
    expect(loadSamples(path, target)).toBe(2);
    expect([...target]).toEqual([0.02, 0.5, 0, 0]);
  });
});
