/** What docs/policy.md and examples/policy show is what the code does. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { decide, decideSubscribe } from "../../../../src/broker/policy/decide.ts";
import {
  type Explanation,
  explain,
  explanationLines,
} from "../../../../src/broker/policy/explain.ts";
import { parsePolicy } from "../../../../src/broker/policy/policy-file.ts";
import { ACTIONS, FDS_DENIED_POLICIES } from "../../../../src/broker/policy/rules.ts";
import { LIMIT_KEY_OF, QUOTA_DEFAULTS } from "../../../../src/broker/quotas/quota-limits.ts";
import {
  RETAINED_OVERHEAD_BYTES,
  RETAINED_PER_UID_MAX,
} from "../../../../src/broker/retained/limits.ts";
import { FD_KINDS } from "../../../../src/fd-kinds.ts";
import { OVERFLOW_POLICIES } from "../../../../src/protocol/words.ts";
import { client, directory, parse, refusalOf } from "./policy-fixture.ts";

const ROOT = new URL("../../../../", import.meta.url);
const DOCUMENT = readFileSync(new URL("docs/policy.md", ROOT), "utf8");
const EXAMPLE = readFileSync(new URL("examples/policy/first.toml", ROOT), "utf8");

/** Fenced blocks of the document: what stands behind the fence, and what between. */
const BLOCKS = [...DOCUMENT.matchAll(/^```(.+)\n([\s\S]*?)^```$/gm)].map((match) => ({
  kind: match[1] ?? "",
  text: match[2] ?? "",
}));

describe("docs/policy.md", () => {
  const right = BLOCKS.filter((block) => block.kind === "toml");
  for (const [index, block] of right.entries()) {
    test(`shows a policy that loads, number ${index + 1}`, () => {
      expect(parse(block.text).rules.length).toBeGreaterThan(0);
    });
  }

  const wrong = BLOCKS.filter((block) => block.kind === "toml wrong");
  for (const [index, block] of wrong.entries()) {
    test(`shows the error that a wrong policy gives, number ${index + 1}`, () => {
      const shown = BLOCKS[BLOCKS.indexOf(block) + 1];

      const error = refusalOf(() => parse(block.text));

      expect(shown?.kind).toBe("text");
      expect(shown?.text).toBe(`${error.message}\n`);
    });
  }

  const parts = BLOCKS.filter((block) => block.kind === "toml part");
  for (const [index, block] of parts.entries()) {
    test(`shows a part of a policy that loads, number ${index + 1}`, () => {
      const rule = '[[rule]]\nallow = ["publish"]\ntopics = ["a"]\nany = true\n';

      expect(parse(rule + block.text).rules).toHaveLength(1);
    });
  }

  const explained = BLOCKS.filter((block) => block.kind === "text explain");
  for (const { text } of explained) {
    const [command = "", ...lines] = text.trimEnd().split("\n");
    test(`shows what is answered to ${command}`, () => {
      expect(explanationLines(answerTo(command))).toEqual(lines);
    });
  }

  test("shows each kind", () => {
    for (const blocks of [right, wrong, parts, explained]) {
      expect(blocks.length).toBeGreaterThan(0);
    }
  });

  test("has a row for each action and each key, and for no other", () => {
    expect(firstColumn("### Actions")).toEqual([...ACTIONS]);
    expect(firstColumn("## The files")).toEqual(keysOf("x = 1\n"));
    expect(firstColumn("## A rule").toSorted()).toEqual(keysOf("[[rule]]\nx = 1\n").toSorted());
    expect(firstColumn("## Settings of topics")).toEqual(keysOf("[[topic]]\nx = 1\n"));
    expect([...firstColumn("## Limits"), "user"]).toEqual(keysOf("[limits]\nx = 1\n"));
  });

  test("says how much may be retained", () => {
    const section = DOCUMENT.slice(DOCUMENT.indexOf("### Last values"));
    for (const figure of [
      QUOTA_DEFAULTS.retainedBytes,
      RETAINED_OVERHEAD_BYTES,
      RETAINED_PER_UID_MAX,
    ]) {
      expect(section).toContain(` ${figure.toLocaleString("en")}`);
    }
  });

  test("shows what each limit is where the policy says nothing", () => {
    const rows = [...DOCUMENT.matchAll(/^\| `([a-z-]+)` \| ([0-9,]+) \|/gm)];
    const shown = rows.map(([, key, figure]) => [key, Number(figure?.replaceAll(",", ""))]);
    const names = Object.keys(LIMIT_KEY_OF) as (keyof typeof LIMIT_KEY_OF)[];
    expect(shown.toSorted()).toEqual(
      names.map((name) => [LIMIT_KEY_OF[name], QUOTA_DEFAULTS[name]]).toSorted(),
    );
  });

  test("names each word that a setting may have", () => {
    for (const word of [...FD_KINDS, ...OVERFLOW_POLICIES, ...FDS_DENIED_POLICIES]) {
      expect(DOCUMENT).toContain(`\`${word}\``);
    }
  });
});

describe("examples/policy/first.toml", () => {
  const policy = parse(EXAMPLE);
  const sensord = client(990);
  const openerd = client(991);
  const displayd = client(992);
  const alice = client(1_000, { groups: [44] });
  const guest = client(1_001, { groups: [2_000] });

  test("lets the sensor daemon alone publish readings", () => {
    const topic = "sensors.kitchen.temperature";

    expect(decide(policy, sensord, "publish", topic).rule).toBe("sensors-publish");
    for (const other of [openerd, displayd, alice, guest, client(0)]) {
      expect(decide(policy, other, "publish", topic)).toEqual({ allowed: false, rule: undefined });
    }
  });

  test("lets everybody read temperatures, but guests none of the bedroom", () => {
    const bedroom = "sensors.bedroom.temperature";

    expect(decide(policy, guest, "subscribe", "sensors.kitchen.temperature").allowed).toBe(true);
    expect(decide(policy, guest, "subscribe", bedroom).rule).toBe("guests-not-bedroom");
    expect(decide(policy, alice, "subscribe", bedroom).rule).toBe("temperatures-read");
    expect(decideSubscribe(policy, guest, "sensors.>").allowed).toBe(true);
    expect(decideSubscribe(policy, guest, "sensors.bedroom.*").allowed).toBe(false);
  });

  test("lets the opener alone publish opened files, and media have them", () => {
    const topic = "files.opened";

    expect(decide(policy, openerd, "publish", topic).allowed).toBe(true);
    expect(decide(policy, openerd, "send-fds", topic).allowed).toBe(true);
    expect(decide(policy, sensord, "publish", topic).allowed).toBe(false);
    expect(decide(policy, alice, "subscribe", topic).allowed).toBe(true);
    expect(decide(policy, alice, "receive-fds", topic).allowed).toBe(true);
    expect(decide(policy, guest, "subscribe", topic).allowed).toBe(false);
  });

  test("lets the display see messages of the opener without the files", () => {
    expect(decide(policy, displayd, "subscribe", "files.opened").allowed).toBe(true);
    expect(decide(policy, displayd, "receive-fds", "files.opened").allowed).toBe(false);
  });
});

/** The keys that an error lists about a table with an unknown one. */
function keysOf(text: string): string[] {
  const { message } = refusalOf(() => parse(text));
  return message.split("expected one of ")[1]?.split(", ") ?? [];
}

/** Asks what a command of the document asks, on the users and groups of these tests. */
function answerTo(command: string): Explanation {
  const form = /--policy first\.toml --user (\S+)(?: --group (\S+))? (\S+) (\S+)$/;
  const [, user = "", group, action, topic = ""] = form.exec(command) ?? [];
  const uid = directory.findUser(user)?.uid ?? expect.unreachable(`no user in ${command}`);
  const gid = group === undefined ? undefined : directory.findGroup(group)?.gid;
  const known = ACTIONS.find((name) => name === action) ?? expect.unreachable("unknown action");
  const policy = parsePolicy(EXAMPLE, "first.toml", directory);
  const who = client(uid, { groups: gid === undefined ? [] : [gid], cgroup: "/" });
  return explain(policy, who, known, topic);
}

/** The code words in the first column of the first table after a heading. */
function firstColumn(heading: string): string[] {
  const section = DOCUMENT.slice(DOCUMENT.indexOf(`\n${heading}\n`));
  const table = section.match(/^\|[\s\S]*?\n\n/m)?.[0] ?? "";
  return [...table.matchAll(/^\| `([^`]+)`/gm)].map((match) => match[1] ?? "");
}
