/** The collector's log, as Bun 1.4.5 writes it. */

import { expect, test } from "bun:test";
import { readCollectorLog } from "../../bench/collector-log.ts";

const LOG = `[GC<0x1>: starting 0.03ms]
[GC<0x1>: START M 8838kb => EdenCollection, i#1:N<CsBcs> 450+0 p=1.348024ms (max 1.348024)...]
[GC<0x1>: M a=310kb => 4419kb, p=0.578828ms (max 1.348024), cycle 3.283407ms END]
GC END!
`;

test("readCollectorLog() finds each pause, and not the cycle that runs beside the program", () => {
  expect(readCollectorLog(LOG)).toEqual({ collections: 1, pausesMs: [1.348024, 0.578828] });
});

test("readCollectorLog() finds none where nothing was collected", () => {
  expect(readCollectorLog("")).toEqual({ collections: 0, pausesMs: [] });
});
