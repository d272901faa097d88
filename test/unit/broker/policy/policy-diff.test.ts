/** What comes of a change of policy, word for word. */

import { describe, expect, test } from "bun:test";
import { diffLines, diffPolicies } from "../../../../src/broker/policy/policy-diff.ts";
import { parse } from "./policy-fixture.ts";

const ALICE_PUBLISHES =
  '[[rule]]\nid = "a"\nallow = ["publish"]\ntopics = ["news.>"]\nuser = "alice"\n';

function lines(before: string, after: string): string[] {
  return diffLines(diffPolicies(parse(before), parse(after)));
}

describe("diffPolicies() finds no difference where", () => {
  const same: readonly (readonly [string, string, string])[] = [
    ["nothing changed", ALICE_PUBLISHES, ALICE_PUBLISHES],
    ["a rule has another id", ALICE_PUBLISHES, ALICE_PUBLISHES.replace('"a"', '"b"')],
    ["a name became its number", ALICE_PUBLISHES, ALICE_PUBLISHES.replace('"alice"', "1000")],
    [
      "a user became a range of one",
      ALICE_PUBLISHES,
      ALICE_PUBLISHES.replace('user = "alice"', 'uid = "1000-1000"'),
    ],
    [
      "rules were put together",
      ALICE_PUBLISHES + ALICE_PUBLISHES.replace('"a"', '"b"').replace('"alice"', '"sensord"'),
      ALICE_PUBLISHES.replace('"alice"', '["sensord", "alice"]'),
    ],
    [
      "rules changed places",
      `${ALICE_PUBLISHES}[[rule]]\ndeny = ["call"]\ntopics = ["x"]\nany = true\n`,
      `[[rule]]\ndeny = ["call"]\ntopics = ["x"]\nany = true\n${ALICE_PUBLISHES}`,
    ],
    [
      "a grant was in another all along",
      `${ALICE_PUBLISHES}[[rule]]\nallow = ["publish"]\ntopics = ["news.a"]\nuser = 1000\n`,
      ALICE_PUBLISHES,
    ],
  ];
  for (const [behaviour, before, after] of same) {
    test(behaviour, () => {
      expect(lines(before, after)).toEqual([]);
    });
  }
});

describe("diffPolicies() tells", () => {
  test("who gains and who loses a grant", () => {
    const after = ALICE_PUBLISHES.replace('"alice"', '"sensord"');

    expect(lines(ALICE_PUBLISHES, after)).toEqual([
      '+ user "sensord" (990) may publish on news.>: rule "a" (policy.toml:1)',
      '- user "alice" (1000) may no longer publish on news.>: rule "a" (policy.toml:1)',
    ]);
  });

  test("who is forbidden what, and who no longer", () => {
    const denied = `${ALICE_PUBLISHES}[[rule]]\ndeny = ["call", "serve"]\ntopics = ["x"]\nany = true\n`;

    expect(lines(ALICE_PUBLISHES, denied)).toEqual([
      '- anybody is forbidden to call and serve x: rule "policy.toml:6"',
    ]);
    expect(lines(denied, ALICE_PUBLISHES)).toEqual([
      '+ anybody is no longer forbidden to call and serve x: rule "policy.toml:6"',
    ]);
  });

  test("that a grant became narrower or wider", () => {
    const narrow = ALICE_PUBLISHES.replace("news.>", "news.local.*");

    expect(lines(ALICE_PUBLISHES, narrow)).toEqual([
      '- user "alice" (1000) may no longer publish on news.>: rule "a" (policy.toml:1)',
    ]);
    expect(lines(narrow, ALICE_PUBLISHES)).toEqual([
      '+ user "alice" (1000) may publish on news.>: rule "a" (policy.toml:1)',
    ]);
  });

  test("only what is new beside a wider grant of the same kind", () => {
    const everybody = ALICE_PUBLISHES.replace('user = "alice"', "any = true");

    expect(lines(ALICE_PUBLISHES, everybody)).toEqual([
      '+ anybody may publish on news.>: rule "a" (policy.toml:1)',
    ]);
  });

  test("every condition of a rule", () => {
    const strict = ALICE_PUBLISHES.replace(
      'user = "alice"',
      'uid = "1000-1999"\ngroup = "media"\nunit = "app-*.scope"\nexe = "/bin/a"\nlabel = "l"',
    );

    expect(lines(ALICE_PUBLISHES, strict)[0]).toBe(
      '+ uid 1000-1999 and group "media" (44) and unit app-*.scope and exe /bin/a and label l ' +
        'may publish on news.>: rule "a" (policy.toml:1)',
    );
  });

  test("that a condition more takes a grant away", () => {
    const inUnit = `${ALICE_PUBLISHES}unit = "a.service"\n`;

    expect(lines(ALICE_PUBLISHES, inUnit)).toEqual([
      '- user "alice" (1000) may no longer publish on news.>: rule "a" (policy.toml:1)',
    ]);
  });

  test("that another group has the grant, and a wider pattern of units", () => {
    const media = ALICE_PUBLISHES.replace(
      'user = "alice"',
      'group = "media"\nunit = "app-?.scope"',
    );
    const guests = media.replace("media", "guests");
    const wider = media.replace("app-?", "app-*");

    expect(lines(media, guests)).toEqual([
      '+ group "guests" (2000) and unit app-?.scope may publish on news.>: rule "a" (policy.toml:1)',
      '- group "media" (44) and unit app-?.scope may no longer publish on news.>: ' +
        'rule "a" (policy.toml:1)',
    ]);
    expect(lines(media, wider)[0]).toBe(
      '+ group "media" (44) and unit app-*.scope may publish on news.>: rule "a" (policy.toml:1)',
    );
  });

  test("that a file became permissive", () => {
    const deny = `[[rule]]\nid = "d"\ndeny = ["call"]\ntopics = ["x"]\nany = true\n`;

    expect(lines(deny, `mode = "permissive"\n${deny}`)).toEqual([
      '~ anybody would be forbidden to call x: rule "d" (policy.toml:2)',
      '+ anybody is no longer forbidden to call x: rule "d" (policy.toml:1)',
      "~ what no rule allows is allowed and told",
    ]);
  });

  test("settings and limits", () => {
    const before = `${ALICE_PUBLISHES}
[limits]
fds = 1
[[limits.user]]
user = "alice"
fds = 2
[[topic]]
topics = ["a", "b"]
retain = true
`;
    const after = before.replace("fds = 2", "fds = 3").replace('["a", "b"]', '["b", "c"]');

    expect(lines(before, after)).toEqual([
      '~ topics a: {"retain":true} becomes none',
      '~ limits of uid 1000: {"fds":2} becomes {"fds":3}',
      '~ topics c: none becomes {"retain":true}',
    ]);
  });
});

test("diffPolicies() returns plain data for programs", () => {
  const diff = diffPolicies(
    parse(ALICE_PUBLISHES),
    parse(ALICE_PUBLISHES.replace('["publish"]', '["publish", "send-fds"]')),
  );

  expect(JSON.parse(JSON.stringify(diff))).toEqual({
    rights: [
      {
        effect: "gains",
        change: "added",
        kind: "allow",
        who: 'user "alice" (1000)',
        actions: ["send-fds"],
        pattern: "news.>",
        rule: { id: "a", place: "policy.toml:1" },
      },
    ],
    settings: [],
  });
});
