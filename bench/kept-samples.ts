/** Samples of several processes, one after the other, in one file: each adds its own to those before. */

import { existsSync, readFileSync, writeFileSync } from "node:fs";

/**
 * Reads what the processes before have left.
 * @param target filled from its start; must be long enough for all
 * @returns how many there were
 */
export function loadSamples(path: string, target: Float64Array): number {
  if (!existsSync(path)) return 0;
  const bytes = readFileSync(path);
  target.set(new Float64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 8));
  return bytes.byteLength / 8;
}

/** Leaves samples, those of the processes before among them, to the next one. */
export function saveSamples(path: string, samples: Float64Array): void {
  writeFileSync(path, samples);
}
