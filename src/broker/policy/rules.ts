/**
 * What a loaded policy is: rules with numbers in them, ready to decide on.
 *
 * Only policy-file.ts (and ownUidPolicy() in decide.ts) makes them; nothing changes one later, so
 * a reload replaces the whole policy. Names of users and groups stand in `who`, for people, and
 * must not be compared: two names can mean one uid.
 */

/** Everything that a rule can allow or deny, in the order in which messages list it. */
export const ACTIONS = ["publish", "subscribe", "send-fds", "receive-fds"] as const;

/** One of ACTIONS. */
export type Action = (typeof ACTIONS)[number];

/** One `[[rule]]` of a policy file. */
export interface Rule {
  /** As written in the file, else `path:line`. Unique within its policy. */
  readonly id: string;
  /** 1-based line where the rule starts; 0 for a rule that stands in no file. */
  readonly line: number;
  readonly allow: ReadonlySet<Action>;
  readonly deny: ReadonlySet<Action>;
  /** Valid patterns, at least one. */
  readonly topics: readonly string[];
  /** The client's uid must be one of these; undefined where the rule does not name users. */
  readonly users: readonly number[] | undefined;
  /** The client must be in one of these gids; undefined where the rule does not name groups. */
  readonly groups: readonly number[] | undefined;
  /** The rule is about everybody. Then users and groups are undefined. */
  readonly any: boolean;
  /** Whom the rule is about, in words: `user "sensord" (990) and group 44`. */
  readonly who: string;
}

/** All rules of one file, in file order. */
export interface Policy {
  readonly rules: readonly Rule[];
  /** The file as the administrator named it; empty for ownUidPolicy(). */
  readonly path: string;
}
