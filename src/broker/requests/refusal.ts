/** How a refusal is put into words, the same on every path. */

import type { FdRules, RefusedFd } from "../fds/fd-rules.ts";
import type { PeerIdentity } from "../identity/identity.ts";
import { ACTION_WORDS, type Action } from "../policy/rules.ts";

/**
 * The sentence that a client and the log are told.
 * @param topic a topic name or pattern
 * @param rule the deciding rule; undefined where none spoke
 */
export function refusalMessage(
  identity: PeerIdentity,
  action: Action,
  topic: string,
  rule: string | undefined,
): string {
  const why = rule === undefined ? "no rule allows it" : `rule "${rule}" denies it`;
  return `Cannot ${ACTION_WORDS[action]} "${topic}" as uid ${identity.uid}: ${why}`;
}

/**
 * The sentence for a subscription that may not hold publishers back.
 * @param rule the setting that speaks against it; undefined where none speaks for it
 */
export function blockRefusalMessage(pattern: string, rule: string | undefined): string {
  const why =
    rule === undefined
      ? 'no setting has overflow = "block" for all its topics'
      : `${rule} has another overflow for some of its topics`;
  return `Cannot subscribe to "${pattern}" with overflow "block": ${why}`;
}

/**
 * The sentence for a message with an fd of a kind that its topic does not take.
 * @param refused the fd, of how many; isUnixSocket: of kind "socket", and of AF_UNIX
 */
export function fdKindMessage(
  topic: string,
  rules: FdRules,
  refused: RefusedFd & { readonly count: number; readonly isUnixSocket: boolean },
): string {
  const { index, count, kind, isUnixSocket } = refused;
  const words = kind === "other" ? "of a kind that no policy can name" : `a "${kind}"`;
  const found = isUnixSocket ? `${words} of AF_UNIX` : words;
  const taker = rules.place === undefined ? "by default a topic" : `by ${rules.place} the topic`;
  return (
    `Cannot send to "${topic}": fd ${index + 1} of ${count} is ${found}, ` +
    `${taker} takes only ${[...rules.kinds].join(", ")}`
  );
}
