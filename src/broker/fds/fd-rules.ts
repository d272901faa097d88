/**
 * Which files the messages of a topic may carry, and what becomes of a message for a subscriber that
 * may not have them. Worked out once for a topic and a policy; for a message there is only a look
 * into a set. Who may send or receive files at all is decide.ts's.
 */

import type { FdKind, FoundFdKind } from "../../fd-kinds.ts";
import { defaultMode, type Mode, type Policy } from "../policy/rules.ts";

/**
 * What a topic takes that no setting names kinds for: what holds data, and cannot do more. Memory
 * that is not sealed is among them, because a regular file can change or shrink under its reader just
 * as well; who needs certainty lists "memfd-sealed" alone.
 *
 * Left out: directories and O_PATH, a way out of a chroot or sandbox; devices and terminals, which do
 * things; sockets, since Unix ones sent over themselves form cycles that keep connections open; pidfds,
 * which give power over a process.
 */
export const DEFAULT_FD_KINDS: readonly FdKind[] = [
  "memfd-sealed",
  "memfd",
  "file-read-only",
  "file",
  "pipe",
  "eventfd",
];

/** What one topic has to say about fds. */
export interface FdRules {
  readonly kinds: ReadonlySet<FoundFdKind>;
  /** Whether files that are read-only and files that are not are treated differently, or refused. */
  readonly tellsReadOnly: boolean;
  /** The setting that lists the kinds, as `path:line`; undefined for DEFAULT_FD_KINDS. */
  readonly place: string | undefined;
  /** Whether a refusal is carried out, or only told; of the file that lists the kinds. */
  readonly mode: Mode;
  /** Subscribers that may not have the fds get nothing at all, in place of the rest. */
  readonly areAllOrNothing: boolean;
}

/** One fd that a topic does not take. */
export interface RefusedFd {
  /** Its place in the message, 0 for the first. */
  readonly index: number;
  readonly kind: FoundFdKind;
}

const DEFAULT = {
  kinds: new Set<FoundFdKind>(DEFAULT_FD_KINDS),
  tellsReadOnly: false,
  place: undefined,
};

/** What a policy says about one topic. */
export function fdRulesOf(policy: Policy, topic: string): FdRules {
  const { settings, files } = policy;
  const areAllOrNothing = settings.find(topic, "fdsDenied")?.fdsDenied === "drop";
  const setting = settings.find(topic, "fds");
  if (setting === undefined) return { ...DEFAULT, mode: defaultMode(policy), areAllOrNothing };
  const kinds: ReadonlySet<FoundFdKind> = new Set(setting.fds);
  return {
    kinds,
    tellsReadOnly: tellsReadOnly(kinds),
    place: `${setting.path}:${setting.line}`,
    mode: files.find(({ path }) => path === setting.path)?.mode ?? "enforce",
    areAllOrNothing,
  };
}

function tellsReadOnly(kinds: ReadonlySet<FoundFdKind>): boolean {
  return !(kinds.has("file") && kinds.has("file-read-only"));
}

/**
 * Finds the first fd that the rules do not take; the kinds of those behind it are not asked for.
 * @param fds borrowed
 * @param kindOf finds the kind of one fd; told whether it matters that a file is read-only
 */
export function findRefusedFd(
  fds: readonly number[],
  rules: FdRules,
  kindOf: (fd: number, tellsReadOnly: boolean) => FoundFdKind,
): RefusedFd | undefined {
  for (let index = 0; index < fds.length; index += 1) {
    const kind = kindOf(fds[index] as number, rules.tellsReadOnly);
    if (!rules.kinds.has(kind)) return { index, kind };
  }
  return undefined;
}
