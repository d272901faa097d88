/**
 * Settings of the JavaScript engine that the broker wants and that it reads from its environment when
 * it starts. Whoever sets one himself has his way.
 */

import { restartProcess } from "../ffi/process-image.ts";

/**
 * What is set; docs/performance.md has what each brought.
 *
 * One thread marks, and it is the broker's own: a little at a time, each time it asks for memory.
 * With helpers a collection waits for them to stop, and where all cores are busy one of them may not
 * get its turn for milliseconds.
 *
 * The others keep the broker small that most of the time has little to do. The last of the engine's
 * compilers, which takes megabytes to work, is for what is called some 70,000 times and not 4,000:
 * messages get there in the first seconds of load, a client that connects never. One thread
 * compiles, since each keeps what it once took. No thread readies blocks of the heap ahead of need,
 * and the heap is collected at 2 MiB and not at 8: messages make no garbage.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  BUN_JSC_numberOfGCMarkers: "1",
  BUN_JSC_thresholdForFTLOptimizeAfterWarmUp: "1000000",
  BUN_JSC_minNumberOfWorklistThreads: "1",
  BUN_JSC_maxNumberOfWorklistThreads: "1",
  BUN_JSC_useWarmUpMarkedBlocks: "0",
  BUN_JSC_largeHeapSize: "2097152",
};

/**
 * Sees to it that the settings are in force, by starting the process over where one is missing. To be
 * called first thing. Where that cannot be done, the broker runs without them, and no worse than that.
 */
export function applyRuntimeSettings(): void {
  const missing = Object.entries(SETTINGS).filter(([name]) => process.env[name] === undefined);
  if (missing.length > 0) restartProcess(Object.fromEntries(missing));
}
