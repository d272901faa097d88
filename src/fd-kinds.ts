/**
 * The kinds of open files that are told apart. A leaf: the policy names them and the kernel is asked
 * for them (src/ffi/fd-kind.ts), and neither may depend on the other.
 */

/** Kinds that a policy can name, as `[[topic]] fds` spells them. */
export const FD_KINDS = [
  "memfd-sealed",
  "memfd",
  "file-read-only",
  "file",
  "pipe",
  "socket",
  "eventfd",
  "pidfd",
  "tty",
  "device",
  "directory",
  "path",
] as const;

/** One of FD_KINDS. */
export type FdKind = (typeof FD_KINDS)[number];

/** What an open file can turn out to be; "other" is all that no policy can name. */
export type FoundFdKind = FdKind | "other";
