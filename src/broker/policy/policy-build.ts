/**
 * From plain data to a policy that decides, all at once or piece by piece.
 *
 * Reading a large policy is slow and should happen on another thread; what comes of it is text,
 * cut into pieces that each take a moment to take in, so that a reload holds nobody up.
 */

import { assert } from "../../assert.ts";
import { RuleIndex } from "./rule-index.ts";
import type { Policy, PolicySource, Rule } from "./rules.ts";
import { SettingIndex } from "./setting-index.ts";

/** Rules of one piece. Measured by bench/policy.bench.ts: 0.25 ms a piece, the slowest 2 ms. */
const RULES_PER_PIECE = 250;

/** All of a policy but its rules. */
type PolicyFrame = Omit<PolicySource, "rules">;

/**
 * Makes a policy at once.
 * @param source as loadPolicySource() returns it
 */
export function buildPolicy(source: PolicySource): Policy {
  const index = new RuleIndex();
  for (const rule of source.rules) index.add(rule);
  return { ...source, index, settings: new SettingIndex(source.topicSettings) };
}

/**
 * Turns a policy into texts, to be sent to another thread or process. Each is JSON.
 * @returns at least one piece; all are needed, in this order
 */
export function serializePolicy({ rules, ...frame }: PolicySource): string[] {
  const pieces = [JSON.stringify(frame)];
  for (let start = 0; start < rules.length; start += RULES_PER_PIECE) {
    pieces.push(JSON.stringify(rules.slice(start, start + RULES_PER_PIECE)));
  }
  return pieces;
}

/** Makes a policy from the pieces of serializePolicy(), one at a time. */
export class PolicyAssembly {
  #frame: PolicyFrame | undefined;
  readonly #index = new RuleIndex();

  /**
   * Takes the next piece in.
   * @param piece of serializePolicy(), trusted
   */
  add(piece: string): void {
    if (this.#frame === undefined) {
      this.#frame = JSON.parse(piece) as PolicyFrame;
      return;
    }
    for (const rule of JSON.parse(piece) as Rule[]) this.#index.add(rule);
  }

  /** The policy, once every piece was added. Nothing may be added afterwards. */
  finish(): Policy {
    assert(this.#frame !== undefined, "the first piece of the policy was added");
    const settings = new SettingIndex(this.#frame.topicSettings);
    return { ...this.#frame, rules: this.#index.rules, index: this.#index, settings };
  }
}
