/** What clients of a crowd do that are let in and stay. */

/** What residents do; the names are those of the report. */
export const RESIDENT_KINDS = [
  "stands still",
  "takes no files",
  "serves and is silent",
  "floods alone",
  "floods the crowd",
  "floods with large packets",
  "calls in vain",
  "answers nobody",
  "hands out files",
  "opens and closes",
  "asks and never reads",
] as const;

/** One of RESIDENT_KINDS. */
export type ResidentKind = (typeof RESIDENT_KINDS)[number];
