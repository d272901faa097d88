/** What the policy tests share: a small machine of users and groups, and rules built in place. */

import { expect } from "bun:test";
import type { PeerIdentity } from "../../../../src/broker/identity/identity.ts";
import { buildPolicy } from "../../../../src/broker/policy/policy-build.ts";
import { type PolicyIo, parsePolicy } from "../../../../src/broker/policy/policy-file.ts";
import type { UserDirectory } from "../../../../src/broker/policy/principals.ts";
import type { Policy, Rule } from "../../../../src/broker/policy/rules.ts";
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
  ["nobody", 65_534],
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

/** Regular files of root that nobody else may write, by path; directories come of the paths. */
export function filesOf(files: Readonly<Record<string, string>>): PolicyIo {
  return {
    readFile(path) {
      const text = files[path];
      if (text === undefined) throw new Error(`ENOENT: no such file, open '${path}'`);
      return { text, ownerUid: 0, mode: 0o100_644 };
    },
    readDirectory(path) {
      const names = Object.keys(files)
        .filter((file) => file.startsWith(`${path}/`))
        .map((file) => file.slice(path.length + 1));
      return names.length === 0 ? undefined : { names, ownerUid: 0, mode: 0o040_755 };
    },
    ownUid: 0,
    directory,
  };
}

/** Rules without a file, as buildPolicy() takes them. */
export function policyOf(rules: readonly Rule[]): Policy {
  const limits = { defaults: {}, overrides: [] };
  return buildPolicy({ path: "", files: [], rules, topicSettings: [], limits });
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
