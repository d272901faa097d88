/**
 * What a policy is: rules with numbers in them, ready to decide on.
 *
 * All but the indexes is plain data that survives JSON and structuredClone(), so that a policy can
 * be read in one place and used in another. Nothing changes one later; a reload replaces it whole.
 * Names of users and groups stand in userWords and groupWords, for people, and must not be compared:
 * two names can mean one uid.
 */

import type { FdKind } from "../../fd-kinds.ts";
import type { OverflowPolicy } from "../../protocol/words.ts";
import type { RuleIndex } from "./rule-index.ts";
import type { SettingIndex } from "./setting-index.ts";

/** Everything that a rule can allow or deny, in the order in which messages list it. */
export const ACTIONS = [
  "publish",
  "subscribe",
  "call",
  "serve",
  "replace",
  "monitor",
  "send-fds",
  "receive-fds",
  "channel",
] as const;

/** One of ACTIONS. */
export type Action = (typeof ACTIONS)[number];

/** Each action as a verb, to be followed by a topic. */
export const ACTION_WORDS: { readonly [A in Action]: string } = {
  publish: "publish on",
  subscribe: "subscribe to",
  call: "call",
  serve: "serve",
  replace: "take over",
  monitor: "monitor",
  "send-fds": "send fds on",
  "receive-fds": "receive fds on",
  channel: "open a channel on",
};

/** Whether denials of a file are carried out, or only told. */
export type Mode = "enforce" | "permissive";

/** Ids from first to last, both included. */
export interface IdRange {
  readonly first: number;
  readonly last: number;
}

/** One `[[rule]]` of a policy file. Of users to labels, all that are there must hold. */
export interface Rule {
  /** As written in the file, else `path:line`. Unique within its policy. */
  readonly id: string;
  /** The file it stands in; empty for a rule that stands in none. */
  readonly path: string;
  /** 1-based line where the rule starts; 0 for a rule that stands in no file. */
  readonly line: number;
  /** Of its file. */
  readonly mode: Mode;
  readonly allow: readonly Action[];
  readonly deny: readonly Action[];
  /** Valid patterns, at least one. */
  readonly topics: readonly string[];
  /** The rule is about everybody. Then none of the following is there. */
  readonly any: boolean;
  /** The client's uid must be one of these. */
  readonly users?: readonly number[];
  /** The same one by one, for people: `"sensord" (990)`. */
  readonly userWords?: readonly string[];
  /** The client's uid must be in one of these. */
  readonly uids?: readonly IdRange[];
  /** The client must be in one of these gids. */
  readonly groups?: readonly number[];
  /** The same one by one, for people. */
  readonly groupWords?: readonly string[];
  /** Wildcard texts, of which the client's unit must match one. */
  readonly units?: readonly string[];
  /** Wildcard texts, of which the client's executable must match one. */
  readonly exes?: readonly string[];
  /** Wildcard texts, of which the client's label must match one. */
  readonly labels?: readonly string[];
}

/** What happens to a message whose files a subscriber does not get. */
export const FDS_DENIED_POLICIES = ["withhold", "drop"] as const;

/** One `[[topic]]` of a policy file. Of several that match a topic, see setting-index.ts. */
export interface TopicSetting {
  readonly path: string;
  readonly line: number;
  readonly topics: readonly string[];
  readonly fds?: readonly FdKind[];
  readonly messageBytesMax?: number;
  readonly retain?: boolean;
  readonly overflow?: OverflowPolicy;
  readonly fdsDenied?: (typeof FDS_DENIED_POLICIES)[number];
}

/** What is counted against a user, as `[limits]` spells it. */
export const LIMIT_KEYS = [
  "connections",
  "subscriptions",
  "groups",
  "topics",
  "services",
  "queued-bytes",
  "retained",
  "retained-bytes",
  "fds",
  "pending-calls",
  "message-bytes",
  "fd-ttl-ms",
  "stall-ms",
] as const;

/** Limits by name; one that is not there is not changed by the policy. */
export type LimitValues = {
  readonly [K in (typeof LIMIT_KEYS)[number]]?: number | undefined;
};

/** One `[[limits.user]]`: limits of some users in place of the default. */
export interface LimitOverride {
  readonly path: string;
  readonly line: number;
  /** No uid is in the ranges of two overrides. */
  readonly uids: readonly IdRange[];
  readonly values: LimitValues;
}

/** Limits of each user. */
export interface PolicyLimits {
  readonly defaults: LimitValues;
  readonly overrides: readonly LimitOverride[];
}

/** One file of a policy. */
export interface PolicyFile {
  readonly path: string;
  readonly mode: Mode;
}

/** A policy without its indexes: plain data. */
export interface PolicySource {
  /** The main file as the administrator named it; empty for ownUidPolicy(). */
  readonly path: string;
  /** The main file and its drop-ins, in the order in which they were read. */
  readonly files: readonly PolicyFile[];
  /** The rules of all files, in file order. */
  readonly rules: readonly Rule[];
  readonly topicSettings: readonly TopicSetting[];
  readonly limits: PolicyLimits;
}

/** A policy to decide with. Made by buildPolicy() and nowhere else. */
export interface Policy extends PolicySource {
  readonly index: RuleIndex;
  readonly settings: SettingIndex;
}

/**
 * The mode in which a denial falls that no rule is answerable for.
 * @returns permissive where all files are
 */
export function defaultMode({ files }: Pick<PolicySource, "files">): Mode {
  if (files.length === 0) return "enforce";
  return files.every((file) => file.mode === "permissive") ? "permissive" : "enforce";
}

/** Whether an id is in one of the ranges. */
export function isInRanges(ranges: readonly IdRange[], id: number): boolean {
  for (const { first, last } of ranges) {
    if (id >= first && id <= last) return true;
  }
  return false;
}

/** A range as people read it. */
export function rangeInWords({ first, last }: IdRange): string {
  return first === last ? String(first) : `${first}-${last}`;
}
