/**
 * Texts with wildcards, for units, executables and labels: `*` is any number of characters and `?`
 * is one. Not for topics, whose patterns go by whole tokens.
 *
 * There is no regular expression here: matching takes at most the product of both lengths,
 * whatever an administrator writes.
 */

const STAR = 0x2a;
const QUESTION = 0x3f;
const SLASH = 0x2f;

/** Whether a text has a `*` or `?`. */
export function hasWildcard(pattern: string): boolean {
  return pattern.includes("*") || pattern.includes("?");
}

/** Whether a whole text is matched. */
export function wildcardMatches(pattern: string, text: string): boolean {
  return matches(pattern, text, -1);
}

/** Whether a whole path is matched; neither wildcard stands for a `/`. */
export function pathWildcardMatches(pattern: string, path: string): boolean {
  return matches(pattern, path, SLASH);
}

/** @param barrier a character code that no wildcard stands for */
function matches(pattern: string, text: string, barrier: number): boolean {
  let at = 0;
  let textAt = 0;
  let afterStar = -1;
  let retryAt = 0;
  while (textAt < text.length) {
    const code = at < pattern.length ? pattern.charCodeAt(at) : -1;
    const actual = text.charCodeAt(textAt);
    if (code === STAR) {
      at += 1;
      afterStar = at;
      retryAt = textAt;
    } else if (code === actual || (code === QUESTION && actual !== barrier)) {
      at += 1;
      textAt += 1;
    } else if (afterStar >= 0 && text.charCodeAt(retryAt) !== barrier) {
      retryAt += 1;
      at = afterStar;
      textAt = retryAt;
    } else {
      return false;
    }
  }
  while (at < pattern.length && pattern.charCodeAt(at) === STAR) at += 1;
  return at === pattern.length;
}
