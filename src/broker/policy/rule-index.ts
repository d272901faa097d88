/**
 * Finds the rule that decides, without trying each.
 *
 * Rules are sorted into buckets by the one key of theirs that tells clients apart best: user, uid,
 * group, unit, executable, label; what has none of these is in a bucket for all. A client is in
 * few buckets, and each finds its first rule on the topic by itself.
 *
 * A bucket may hold rules that are not about the client: isAbout() has the last word. Rules must
 * be added in file order, since the first that applies is the one that is named.
 */

import { splitTokens } from "../../protocol/topics.ts";
import type { PeerIdentity } from "../identity/identity.ts";
import { isAbout, isUnitUnknown } from "./conditions.ts";
import { IdBuckets, WildcardBuckets } from "./keyed-buckets.ts";
import { RuleBucket, type RuleQuery, type RuleSearch } from "./rule-bucket.ts";
import type { IdRange, Rule } from "./rules.ts";

const makeBucket = () => new RuleBucket();

/** The rules of one policy. */
export class RuleIndex {
  readonly #rules: Rule[] = [];
  readonly #users = new IdBuckets(makeBucket);
  readonly #groups = new IdBuckets(makeBucket);
  readonly #units = new WildcardBuckets(makeBucket);
  readonly #exes = new WildcardBuckets(makeBucket);
  readonly #labels = new WildcardBuckets(makeBucket);
  /** Rules of #units and #exes that deny, which hold where unit or executable is unknown. */
  readonly #deniedUnits = new RuleBucket();
  readonly #deniedExes = new RuleBucket();
  readonly #others = new RuleBucket();

  /** The rules added so far, in order. */
  get rules(): readonly Rule[] {
    return this.#rules;
  }

  /** Adds a rule after those that were added before. */
  add(rule: Rule): void {
    const rules = this.#rules;
    const entry = rules.length;
    rules.push(rule);
    const put = (bucket: RuleBucket) => bucket.add(entry, rules);
    const { users, uids, groups, units, exes, labels } = rule;
    const ids = users?.map(single) ?? uids;
    if (ids !== undefined) for (const range of ids) this.#users.open(range, put);
    else if (groups !== undefined) for (const gid of groups) this.#groups.open(single(gid), put);
    else if (units !== undefined) {
      for (const unit of units) put(this.#units.open(unit));
      if (rule.deny.length > 0) put(this.#deniedUnits);
    } else if (exes !== undefined) {
      for (const exe of exes) put(this.#exes.open(exe));
      if (rule.deny.length > 0) put(this.#deniedExes);
    } else if (labels !== undefined) for (const label of labels) put(this.#labels.open(label));
    else put(this.#others);
  }

  /** Finds the first rule, in file order, that is about the client and does what is asked for. */
  first(query: RuleQuery): Rule | undefined {
    const { identity } = query;
    const rules = this.#rules;
    const effect = query.kind === "allow" ? "allow" : "deny";
    const search: RuleSearch = {
      ...query,
      rules,
      tokens: splitTokens(query.asked),
      accepts: (entry) => isAbout(rules[entry] as Rule, identity, effect),
    };
    let first = Number.POSITIVE_INFINITY;
    this.#findBuckets(identity, (bucket) => {
      first = bucket.first(search, first);
    });
    return rules[first];
  }

  /** Visits every bucket that may hold a rule about the client. */
  #findBuckets(identity: PeerIdentity, visit: (bucket: RuleBucket) => void): void {
    const { uid, gid, groups, unit, exe, label } = identity;
    this.#users.find(uid, visit);
    this.#groups.find(gid, visit);
    for (const group of groups) this.#groups.find(group, visit);
    if (unit !== undefined) this.#units.find(unit, visit);
    else if (isUnitUnknown(identity)) visit(this.#deniedUnits);
    if (exe !== undefined) this.#exes.find(exe, visit);
    else visit(this.#deniedExes);
    if (label !== undefined) this.#labels.find(label, visit);
    visit(this.#others);
  }
}

function single(id: number): IdRange {
  return { first: id, last: id };
}
