/**
 * From `[[topic]]` and `[limits]` as written to settings by number, and what the shape of one value
 * cannot tell: that each says something, and that none says what another has said.
 */

import type { FileShape, LimitsShape, TopicShape } from "./policy-schema.ts";
import { checkUidRanges, type Resolution, resolvePrincipals } from "./principals.ts";
import {
  type IdRange,
  LIMIT_KEYS,
  type LimitOverride,
  type LimitValues,
  rangeInWords,
  type TopicSetting,
} from "./rules.ts";
import type { TomlPath } from "./toml-document.ts";
import { describeValue } from "./value-schema.ts";

/** The settings of all files so far; grows. */
export interface SettingDraft {
  readonly topics: TopicSetting[];
  /** Place of each pattern of a `[[topic]]`. */
  readonly topicPlaces: Map<string, string>;
  readonly defaults: { -readonly [K in keyof LimitValues]: LimitValues[K] };
  /** Place of each default. */
  readonly defaultPlaces: Map<string, string>;
  readonly overrides: LimitOverride[];
}

/** What of a policy file its settings are resolved with. */
export interface SettingContext extends Omit<Resolution, "path"> {
  readonly path: string;
  readonly lineOf: (path: TomlPath, origin: "key" | "value") => number;
  readonly draft: SettingDraft;
}

/** A draft with nothing in it. */
export function emptySettings(): SettingDraft {
  return {
    topics: [],
    topicPlaces: new Map(),
    defaults: {},
    defaultPlaces: new Map(),
    overrides: [],
  };
}

/** Adds the settings of a file to the draft, not to be used if a problem came to the context. */
export function resolveSettings(shape: FileShape, context: SettingContext): void {
  for (const [index, topic] of (shape.topic ?? []).entries()) addTopic(topic, index, context);
  if (shape.limits === undefined) return;
  addDefaults(shape.limits, context);
  for (const [index, user] of (shape.limits.user ?? []).entries()) {
    addOverride(user, index, context);
  }
}

function addTopic(shape: TopicShape, index: number, context: SettingContext): void {
  const { draft, problems, path } = context;
  const at: TomlPath = ["topic", index];
  const line = context.lineOf(at, "value");
  if (Object.keys(shape).length === 1) {
    const message = "The setting sets nothing, expected a key beside its topics";
    problems.push({ path: at, origin: "value", message });
  }
  for (const [number, pattern] of shape.topics.entries()) {
    const taken = draft.topicPlaces.get(pattern);
    if (taken === undefined) draft.topicPlaces.set(pattern, `${path}:${line}`);
    else {
      const message = `Topics ${describeValue(pattern)} have their settings at ${taken} already`;
      problems.push({ path: [...at, "topics", number], origin: "value", message });
    }
  }
  const { topics, fds, retain, overflow } = shape;
  const messageBytesMax = shape["message-bytes-max"];
  const fdsDenied = shape["fds-denied"];
  draft.topics.push({
    path,
    line,
    topics,
    ...(fds !== undefined && { fds }),
    ...(messageBytesMax !== undefined && { messageBytesMax }),
    ...(retain !== undefined && { retain }),
    ...(overflow !== undefined && { overflow }),
    ...(fdsDenied !== undefined && { fdsDenied }),
  });
}

function addDefaults(shape: LimitsShape, context: SettingContext): void {
  const { draft, problems, path } = context;
  for (const key of LIMIT_KEYS) {
    const value = shape[key];
    if (value === undefined) continue;
    const at: TomlPath = ["limits", key];
    const taken = draft.defaultPlaces.get(key);
    if (taken !== undefined) {
      problems.push({ path: at, origin: "key", message: `"${key}" is set at ${taken} already` });
    }
    draft.defaultPlaces.set(key, `${path}:${context.lineOf(at, "key")}`);
    draft.defaults[key] = value;
  }
  if (Object.keys(shape).length > 0) return;
  const message = `No limit, expected one of ${LIMIT_KEYS.join(", ")}`;
  problems.push({ path: ["limits"], origin: "value", message });
}

type UserShape = NonNullable<LimitsShape["user"]>[number];

function addOverride(shape: UserShape, index: number, context: SettingContext): void {
  const { draft, problems, path, directory } = context;
  const at: TomlPath = ["limits", "user", index];
  const { user, uid, ...values } = shape;
  if ((user === undefined) === (uid === undefined)) {
    const message = 'Whom the limits are about is not said once, expected "user" or "uid"';
    problems.push({ path: at, origin: "value", message });
  }
  if (Object.keys(values).length === 0) {
    const message = `No limit, expected one of ${LIMIT_KEYS.join(", ")}`;
    problems.push({ path: at, origin: "value", message });
  }
  const resolution = { path: at, directory, problems };
  const users = user === undefined ? [] : resolvePrincipals(user, "user", resolution).ids;
  if (uid !== undefined) checkUidRanges(uid, resolution);
  const uids = [...users.map((id) => ({ first: id, last: id })), ...(uid ?? [])];
  for (const range of uids) {
    const other = draft.overrides.find((earlier) => earlier.uids.some((o) => overlap(o, range)));
    if (other === undefined) continue;
    const message = `uid ${rangeInWords(range)} has limits at ${other.path}:${other.line} already`;
    problems.push({ path: at, origin: "value", message });
  }
  draft.overrides.push({ path, line: context.lineOf(at, "value"), uids, values });
}

function overlap(a: IdRange, b: IdRange): boolean {
  return a.first <= b.last && b.first <= a.last;
}
