/**
 * Policies of any size for benchmarks, as TOML text. In each the last rule lets everybody publish
 * and read below `bench`; the rules before it are of one kind, and none keeps a benchmark's client
 * from what it asks for. Pure.
 */

/** What tells the rules of a policy apart. */
export const RULE_SHAPES = ["exact", "wildcard", "user", "group", "unit", "mixed"] as const;

/** One of RULE_SHAPES. */
export type RuleShape = (typeof RULE_SHAPES)[number];

/** A policy to be made. */
export interface PolicyOrder {
  /** Rules in all, 1 or more. */
  readonly rules: number;
  readonly shape: RuleShape;
  /** Whether everybody may also call, serve and send files there. */
  readonly allowsAll?: boolean;
}

/** Numbers of users and groups that are nobody's here start after this one. */
const ID_BASE = 100_000;

/** Of every so many rules one denies something, to others or elsewhere. */
const RULES_PER_DENIAL = 10;

/** What the last rule lets everybody do. */
const BASIC_RIGHTS = ["publish", "subscribe"];
const ALL_RIGHTS = [...BASIC_RIGHTS, "call", "serve", "send-fds", "receive-fds"];

/** Two lines of a rule: where it holds, and whom it is about. */
const SHAPE_LINES: Record<Exclude<RuleShape, "mixed">, (at: number) => string> = {
  exact: (at) => `topics = ["${topicOfRule(at)}"]\nany = true`,
  wildcard: (at) => `topics = ["*.rules.t${at}", "*.*.t${at}.>"]\nany = true`,
  user: (at) => `topics = ["bench.rules.>"]\nuser = ${ID_BASE + at}`,
  group: (at) => `topics = ["bench.rules.*"]\ngroup = ${ID_BASE + at}`,
  unit: (at) => `topics = ["bench.rules.>"]\nunit = "app-${at}-*.scope"`,
};

const SINGLE_SHAPES = Object.values(SHAPE_LINES);

/** A topic that an "exact" rule names, and a "wildcard" rule matches. */
export function topicOfRule(at: number): string {
  return `bench.rules.t${at}`;
}

/** Someone whom one rule of each shape is about. */
export function clientOfRule(at: number): { uid: number; gid: number; unit: string } {
  return { uid: ID_BASE + at, gid: ID_BASE + at, unit: `app-${at}-1.scope` };
}

/** The text of a policy file. */
export function policyText({ rules, shape, allowsAll = false }: PolicyOrder): string {
  const parts = Array.from({ length: rules - 1 }, (_, at) => {
    const lines = shape === "mixed" ? SINGLE_SHAPES[at % SINGLE_SHAPES.length] : SHAPE_LINES[shape];
    const effect = at % RULES_PER_DENIAL === 0 ? 'deny = ["serve"]' : 'allow = ["publish"]';
    return `[[rule]]\nid = "rule-${at}"\n${effect}\n${lines?.(at)}\n\n`;
  });
  return parts.join("") + lastRule(allowsAll ? ALL_RIGHTS : BASIC_RIGHTS);
}

function lastRule(rights: readonly string[]): string {
  const allow = JSON.stringify(rights);
  return `[[rule]]\nid = "everybody"\nallow = ${allow}\ntopics = ["bench.>"]\nany = true\n`;
}
