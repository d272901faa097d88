/**
 * Settings of the JavaScript engine that the broker wants and that it reads from its environment when
 * it starts. Whoever sets one himself has his way.
 */

import { restartProcess } from "../ffi/process-image.ts";

/**
 * One thread marks, and it is the broker's own: a little at a time, each time it asks for memory.
 * With helpers a collection waits for them to stop, and where all cores are busy one of them may not
 * get its turn for milliseconds. See docs/performance.md.
 */
const SETTINGS: Readonly<Record<string, string>> = { BUN_JSC_numberOfGCMarkers: "1" };

/**
 * Sees to it that the settings are in force, by starting the process over where one is missing. To be
 * called first thing. Where that cannot be done, the broker runs without them, and no worse than that.
 */
export function applyRuntimeSettings(): void {
  const missing = Object.entries(SETTINGS).filter(([name]) => process.env[name] === undefined);
  if (missing.length > 0) restartProcess(Object.fromEntries(missing));
}
