/**
 * Keeps identities that are equal as one object: a process with a thousand connections takes the
 * memory of one. Each identity was read from the kernel before it comes here, and only one that says
 * the very same in all its fields stands for it; nothing is looked up by what a client can choose.
 */

import type { PeerIdentity } from "./identity.ts";
import { POOLED_IDENTITIES_MAX } from "./limits.ts";

/** Identities of the processes that connected last. One for a broker. */
export class IdentityPool {
  /** By pid, the one that came last behind all others. */
  readonly #byPid = new Map<number, PeerIdentity>();

  /** @returns an identity that equals this one: an earlier object, or this one itself */
  intern(identity: PeerIdentity): PeerIdentity {
    const { pid } = identity;
    const known = this.#byPid.get(pid);
    if (known !== undefined && equalIdentities(known, identity)) return known;
    this.#byPid.delete(pid);
    if (this.#byPid.size >= POOLED_IDENTITIES_MAX) this.#dropOldest();
    this.#byPid.set(pid, identity);
    return identity;
  }

  #dropOldest(): void {
    for (const pid of this.#byPid.keys()) {
      this.#byPid.delete(pid);
      return;
    }
  }
}

/** Whether two identities say the same of everything. */
export function equalIdentities(one: PeerIdentity, other: PeerIdentity): boolean {
  for (const name of SCALARS) if (one[name] !== other[name]) return false;
  return equalLists(one.groups, other.groups);
}

/** All of PeerIdentity but the groups; a field that is missing here does not compile. */
const SCALAR_FIELDS: Readonly<Record<Exclude<keyof PeerIdentity, "groups">, true>> = {
  uid: true,
  gid: true,
  pid: true,
  label: true,
  unmapped: true,
  cgroup: true,
  unit: true,
  slice: true,
  container: true,
  exe: true,
};
const SCALARS = Object.keys(SCALAR_FIELDS) as Exclude<keyof PeerIdentity, "groups">[];

function equalLists(one: readonly number[], other: readonly number[]): boolean {
  if (one === other) return true;
  return one.length === other.length && one.every((value, index) => value === other[index]);
}
