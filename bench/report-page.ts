import type { Result } from "./results-table.ts";
/** stub */
export function renderPage(_r: readonly Result[], _n: readonly string[]): string {
  return "";
}
