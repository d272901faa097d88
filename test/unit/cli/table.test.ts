import { expect, test } from "bun:test";
import { sizeWords, tableLines, timeWords } from "../../../src/cli/table.ts";

test("tableLines() aligns text to the left and figures to the right", () => {
  const lines = tableLines(
    ["NAME", "COUNT", "SIZE"],
    [
      ["a", 5, "1.0 KiB"],
      ["long.name", 12_345, "17 B"],
      ["x", undefined, undefined],
    ],
  );
  expect(lines).toEqual([
    "NAME       COUNT     SIZE",
    "a              5  1.0 KiB",
    "long.name  12345     17 B",
    "x",
  ]);
});

test("tableLines() lets no cell act on the terminal", () => {
  expect(tableLines(["A"], [["\u001b[2J"]]).join("")).not.toContain("\u001b");
});

test.each([
  [0, "0 B"],
  [1_023, "1023 B"],
  [1_024, "1.0 KiB"],
  [10_240, "10 KiB"],
  [2.5 * 1024 * 1024, "2.5 MiB"],
  [3 * 1024 ** 5, "3072 TiB"],
])("sizeWords(%p)", (bytes, words) => {
  expect(sizeWords(bytes)).toBe(words);
});

test.each([
  [0, "0s"],
  [59_999, "59s"],
  [125_000, "2m 5s"],
  [3_600_000, "1h 0m"],
  [100 * 3_600_000, "4d 4h"],
])("timeWords(%p)", (milliseconds, words) => {
  expect(timeWords(milliseconds)).toBe(words);
});
