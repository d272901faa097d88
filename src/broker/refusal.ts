/** How a denial of the policy is put into words, the same on every path. */

import type { PeerIdentity } from "./identity.ts";
import { ACTION_WORDS, type Action } from "./policy/rules.ts";

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
