/**
 * Topic names and patterns: checking, matching, and the set questions that policy and routing ask.
 * Not an index: src/broker has the tree that finds subscriptions without trying each.
 *
 * Everything but the two checks expects names and patterns that passed them. All functions take
 * time linear in their input; there is no regular expression here. A `*` or `>` never stands for a
 * first token that begins with `$`.
 */

import { GROUP_BYTES_MAX, TOPIC_BYTES_MAX, TOPIC_TOKENS_MAX } from "./limits.ts";

const DOLLAR = 0x24;
const STAR = 0x2a;
const GREATER = 0x3e;
const VISIBLE_MIN = 0x21;
const VISIBLE_MAX = 0x7e;

/**
 * Checks a topic name. A reserved name is well-formed; ask isReservedTopic() for that.
 * @returns undefined where the name is well-formed, else a sentence that says why not and holds
 *   nothing of the name
 */
export function checkTopicName(name: string): string | undefined {
  return checkTokens(name, false);
}

/**
 * Checks a pattern: a topic name in which whole tokens may be `*`, and the last may be `>`.
 * @returns undefined where the pattern is well-formed, else a sentence that says why not and holds
 *   nothing of the pattern
 */
export function checkPattern(pattern: string): string | undefined {
  return checkTokens(pattern, true);
}

/** Whether a name belongs to the bus: its first token begins with `$`. */
export function isReservedTopic(name: string): boolean {
  return name.charCodeAt(0) === DOLLAR;
}

/**
 * Why a client may not have a topic or service of this name.
 * @param cannot what it wanted, as a message begins: "Cannot open topic"
 * @returns undefined where it may, else a message, which holds the name where that is well-formed
 */
export function refusalOfName(name: string, cannot: string): string | undefined {
  const flaw = checkTopicName(name);
  if (flaw !== undefined) return `${cannot}: the name is malformed, ${flaw}`;
  return isReservedTopic(name) ? `${cannot} "${name}": it belongs to the bus` : undefined;
}

/** Whether a well-formed pattern may match more than the topic of its very name. */
export function isWildcard(pattern: string): boolean {
  return pattern.includes("*") || pattern.includes(">");
}

/** The tokens of a name or pattern, in order. */
export function splitTokens(name: string): string[] {
  return name.split(".");
}

/**
 * Whether a pattern matches a topic name. Allocates nothing.
 * @param pattern well-formed
 * @param name well-formed
 */
export function topicMatches(pattern: string, name: string): boolean {
  if (isReservedTopic(name) !== isReservedTopic(pattern)) return false;
  let at = 0;
  let nameAt = 0;
  while (at < pattern.length && nameAt < name.length) {
    const code = pattern.charCodeAt(at);
    if (code === GREATER) return true;
    if (code === STAR) {
      at += 1;
      nameAt = tokenEnd(name, nameAt);
    } else if (code === name.charCodeAt(nameAt)) {
      at += 1;
      nameAt += 1;
    } else {
      return false;
    }
  }
  return at === pattern.length && nameAt === name.length;
}

/**
 * Whether some topic is matched by both patterns. The limits on bytes and tokens are left out of
 * account: where only they keep the two apart, the answer is true.
 * @param a well-formed
 * @param b well-formed
 */
export function patternsIntersect(a: string, b: string): boolean {
  if (isReservedTopic(a) !== isReservedTopic(b)) return false;
  const tokens = splitTokens(a);
  const others = splitTokens(b);
  const shared = Math.min(tokens.length, others.length);
  for (let index = 0; index < shared; index += 1) {
    const token = tokens[index];
    const other = others[index];
    if (token === ">" || other === ">") return true;
    if (token !== other && token !== "*" && other !== "*") return false;
  }
  return tokens.length === others.length;
}

/**
 * Whether every topic that `inner` matches is matched by `outer` too. The limits on bytes and
 * tokens are left out of account: where only they make it so, the answer is false.
 * @param outer well-formed
 * @param inner well-formed
 */
export function patternCovers(outer: string, inner: string): boolean {
  if (isReservedTopic(outer) !== isReservedTopic(inner)) return false;
  const outerTokens = splitTokens(outer);
  const innerTokens = splitTokens(inner);
  const shared = Math.min(outerTokens.length, innerTokens.length);
  for (let index = 0; index < shared; index += 1) {
    const token = outerTokens[index];
    const inside = innerTokens[index];
    if (token === ">") return true;
    if (inside === ">") return false;
    if (token !== "*" && token !== inside) return false;
  }
  return outerTokens.length === innerTokens.length;
}

/**
 * Says what is wrong with the name of a queue group.
 * @returns undefined for a good one; else the reason, to stand after a colon
 */
export function checkGroupName(name: string): string | undefined {
  if (name.length === 0) return "it is empty";
  if (name.length > GROUP_BYTES_MAX) return `it is longer than ${GROUP_BYTES_MAX} bytes`;
  for (let at = 0; at < name.length; at += 1) {
    const code = name.charCodeAt(at);
    if (code < VISIBLE_MIN || code > VISIBLE_MAX) {
      return "it has a character that is not visible ASCII";
    }
  }
  return undefined;
}

/** Where the token that holds `at` ends: the index of the next dot, or the length. */
function tokenEnd(name: string, at: number): number {
  const dot = name.indexOf(".", at);
  return dot === -1 ? name.length : dot;
}

function checkTokens(name: string, wildcards: boolean): string | undefined {
  if (name.length === 0) return "it is empty";
  // All characters allowed are ASCII, so length in characters is length in bytes.
  if (name.length > TOPIC_BYTES_MAX) return `it is longer than ${TOPIC_BYTES_MAX} bytes`;
  let tokens = 0;
  for (let start = 0; start <= name.length; ) {
    const end = tokenEnd(name, start);
    const fault = checkToken(name, start, end, wildcards);
    if (fault !== undefined) return fault;
    tokens += 1;
    start = end + 1;
  }
  if (tokens > TOPIC_TOKENS_MAX) return `it has more than ${TOPIC_TOKENS_MAX} tokens`;
  return undefined;
}

function checkToken(
  name: string,
  start: number,
  end: number,
  wildcards: boolean,
): string | undefined {
  if (start === end) return "it has an empty token";
  const first = name.charCodeAt(start);
  if (wildcards && end - start === 1 && first === STAR) return undefined;
  if (wildcards && end - start === 1 && first === GREATER) {
    return end === name.length ? undefined : `">" is not its last token`;
  }
  for (let at = start; at < end; at += 1) {
    const code = name.charCodeAt(at);
    if (code < VISIBLE_MIN || code > VISIBLE_MAX) {
      return "it has a character that is not visible ASCII";
    }
    if (code === STAR || code === GREATER) {
      return wildcards ? `"*" or ">" is only a part of a token` : `it has a "*" or ">"`;
    }
  }
  return undefined;
}
