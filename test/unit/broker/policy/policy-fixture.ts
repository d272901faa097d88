/** What the policy tests share: a small machine of users and groups, and rules built in place. */

import { expect } from "bun:test";
import type { PeerIdentity } from "../../../../src/broker/identity.ts";
import { parsePolicy } from "../../../../src/broker/policy/policy-file.ts";
import type { UserDirectory } from "../../../../src/broker/policy/rule-resolution.ts";
import type { Policy } from "../../../../src/broker/policy/rules.ts";
import { ConfigError } from "../../../../src/errors.ts";

/** The path that all tests of this folder parse under. */
export const POLICY_PATH = "policy.toml";

const USERS = new Map([
  ["root", 0],
  ["toor", 0],
  ["sensord", 990],
  ["openerd", 991],
  ["displayd", 992],
  ["alice", 1000],
]);

const GROUPS = new Map([
  ["root", 0],
  ["media", 44],
  ["guests", 2000],
]);

/** The users and groups above and no others. */
export const directory: UserDirectory = {
  findUser(name) {
    const uid = USERS.get(name);
    return uid === undefined ? undefined : { uid };
  },
  findGroup(name) {
    const gid = GROUPS.get(name);
    return gid === undefined ? undefined : { gid };
  },
};

/** Parses under POLICY_PATH with the users and groups above. */
export function parse(text: string): Policy {
  return parsePolicy(text, POLICY_PATH, directory);
}

/** A client with one group of its own, and none beside it unless given. */
export function client(uid: number, fields: Partial<PeerIdentity> = {}): PeerIdentity {
  return { uid, gid: uid, pid: 4_242, groups: [], ...fields };
}

/** Runs what must throw a CONFIG_POLICY error, and returns it. */
export function refusalOf(run: () => unknown): ConfigError {
  let thrown: unknown;
  try {
    run();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(ConfigError);
  const error = thrown as ConfigError;
  expect(error.code).toBe("CONFIG_POLICY");
  return error;
}
