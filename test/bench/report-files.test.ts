/** What the benchmark leaves behind: files that say where their figures are from. */

import { describe, expect, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Report, reportNotes, writeReport } from "../../bench/report-files.ts";
import { describeCheckout, describeMachine } from "../../bench/run-head.ts";
import { measurementOf, resultsOf, roundTripsOf } from "./results-fixture.ts";

const REPORT: Report = {
  head: {
    startedAt: "2026-11-21T16:27:13.466Z",
    seqbus: { version: "1.2.3", commit: "0123456789abcdef", isChanged: true },
    machine: { cpu: "CPU", cores: 2, memoryGib: 4, kernel: "Linux 6", bun: "1" },
    command: "bun run bench --repeats 2",
    present: ["redis 7.0.15"],
    absent: ["nats (not installed)"],
  },
  repeatsAsked: 2,
  failures: [{ name: "a", relay: "broker", repeat: 1, reason: "messages were lost" }],
  results: [
    ...resultsOf("1 to 1, 64 B", { "floor in C": [4e6, 5e6], "seqbus, raw": [2e6, null] }),
    ...resultsOf("ping-pong, 64 B, unpinned", { "seqbus, raw": [30, 40] }, roundTripsOf),
  ],
};

const HEAD_WORDS = [
  "2 x CPU, 4 GiB, Linux 6, Bun 1",
  "seqbus 1.2.3, commit 0123456789ab with changes",
  "2026-11-21 16:27 UTC, bun run bench --repeats 2",
  "present: redis 7.0.15",
  "absent: nats (not installed)",
  "medians of 1 to 2 of 2 repeats in turns (lowest - highest)",
  "failed: a: messages were lost (repeat 1)",
];

/** Writes all kinds of report, twice, and reads them. */
async function writtenReports(): Promise<Record<"json" | "html" | "markdown", string>> {
  const directory = await mkdtemp(join(tmpdir(), "seqbus-bench-"));
  const paths = {
    json: join(directory, "a.json"),
    html: join(directory, "a.html"),
    markdown: join(directory, "a.md"),
  };
  try {
    await writeReport({ ...REPORT, results: [] }, paths);
    await writeReport(REPORT, paths);
    expect((await readdir(directory)).sort()).toEqual(["a.html", "a.json", "a.md"]);
    const read = (path: string) => Bun.file(path).text();
    const [json, html, markdown] = [paths.json, paths.html, paths.markdown].map(read);
    return { json: (await json) ?? "", html: (await html) ?? "", markdown: (await markdown) ?? "" };
  } finally {
    await rm(directory, { recursive: true });
  }
}

describe("reportNotes()", () => {
  test("says machine, version, commit, date, command, who took part, and what failed", () => {
    expect(reportNotes(REPORT)).toEqual(HEAD_WORDS);
  });

  test("says of how many repeats the medians are, and not how many were asked for", () => {
    const results = resultsOf("1 to 1, 64 B", { "seqbus, raw": [2e6, 3e6], "floor in C": [4, 5] });
    const wordsOf = (repeatsAsked: number, some = results) =>
      reportNotes({ ...REPORT, failures: [], repeatsAsked, results: some })
        .find((line) => line.includes("repeat") && !line.includes("--repeats"))
        ?.replace(" in turns (lowest - highest)", "");
    expect(wordsOf(1)).toBe("one repeat");
    expect(wordsOf(2)).toBe("medians of 2 repeats");
    expect(wordsOf(3)).toBe("medians of 2 of 3 repeats");
    expect(wordsOf(3, [])).toBe("medians of 0 of 3 repeats");
  });

  test("names runs that were over before they were warm", () => {
    const results = resultsOf("1 to 1, 64 B", { "seqbus, raw": [7, 8] }, (name, perSecond) => {
      return { ...measurementOf(name, perSecond), ...(perSecond === 8 && { isCold: true }) };
    });
    expect(reportNotes({ ...REPORT, failures: [], results }).at(-1)).toBe(
      "over before the warm-up, so counted from the first message: " +
        "1 to 1, 64 B: seqbus, raw (1 of 2 repeats)",
    );
  });
});

describe("writeReport()", () => {
  test("writes each repeat and its quantiles as JSON", async () => {
    const { json } = await writtenReports();
    const { head, failures, results } = JSON.parse(json) as Report;
    expect(head).toEqual(REPORT.head);
    expect(failures).toEqual([...REPORT.failures]);
    const own = results.find(({ name }) => name === "1 to 1, 64 B: seqbus, raw");
    expect(own?.repeats.map((run) => run?.perSecond ?? null)).toEqual([2e6, null]);
    expect(results.at(-1)?.latency?.quantilesUs).toEqual([35, 35, 35]);
  });

  test("writes every table as Markdown, below the head", async () => {
    const { markdown } = await writtenReports();
    for (const words of HEAD_WORDS) expect(markdown).toContain(`- ${words}\n`);
    expect(markdown).toContain("## 1 to 1, 64 B\n\n| who ");
    expect(markdown).toMatch(/seqbus, raw \| 2\.00 M /);
    expect(markdown).toContain("## ping-pong, 64 B, unpinned\n\n| who ");
    expect(markdown).not.toMatch(/NaN|undefined/);
  });

  test("writes the head and the distribution of round trips as a page", async () => {
    const { html } = await writtenReports();
    for (const words of HEAD_WORDS) expect(html).toContain(words);
    expect(html).toContain('aria-label="ping-pong, 64 B, unpinned: distribution"');
  });

  test("writes nothing that was not asked for", async () => {
    expect(await writeReport(REPORT, {})).toBeUndefined();
  });
});

describe("describeCheckout()", () => {
  test("knows the version, and the commit of a checkout", () => {
    const { version, commit = "0".repeat(40) } = describeCheckout();
    expect(version).toMatch(/^\d+\.\d+\.\d+/);
    expect(commit).toMatch(/^[0-9a-f]{40}$/);
  });
});

describe("describeMachine()", () => {
  test("knows processors, memory, kernel and Bun", () => {
    const { cores, memoryGib, kernel, bun } = describeMachine();
    expect(cores).toBeGreaterThan(0);
    expect(memoryGib).toBeGreaterThan(0);
    expect(kernel).toStartWith("Linux ");
    expect(bun).toBe(Bun.version);
  });
});
