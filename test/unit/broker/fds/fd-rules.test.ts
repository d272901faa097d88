import { describe, expect, test } from "bun:test";
import { DEFAULT_FD_KINDS, fdRulesOf, findRefusedFd } from "../../../../src/broker/fds/fd-rules.ts";
import { fdKindMessage } from "../../../../src/broker/requests/refusal.ts";
import { FD_KINDS, type FoundFdKind } from "../../../../src/fd-kinds.ts";
import { parse } from "../policy/policy-fixture.ts";

const RULE = '[[rule]]\nallow = ["publish"]\ntopics = [">"]\nany = true\n';

function rulesOf(settings: string, topic: string) {
  return fdRulesOf(parse(`${RULE}${settings}`), topic);
}

describe("fdRulesOf()", () => {
  test("takes what holds data where no setting names kinds", () => {
    const rules = rulesOf('[[topic]]\ntopics = ["a"]\nretain = true\n', "a");
    expect([...rules.kinds]).toEqual([...DEFAULT_FD_KINDS]);
    expect(rules).toMatchObject({ place: undefined, mode: "enforce", areAllOrNothing: false });
    const refused = FD_KINDS.filter((kind) => !rules.kinds.has(kind));
    expect(refused).toEqual(["socket", "pidfd", "tty", "device", "directory", "path"]);
  });

  test("takes the kinds of the setting and no others, and says where it stands", () => {
    const rules = rulesOf('[[topic]]\ntopics = ["a.*"]\nfds = ["socket", "pipe"]\n', "a.b");
    expect([...rules.kinds]).toEqual(["socket", "pipe"]);
    expect(rules.place).toMatch(/policy\.toml:5$/);
  });

  test("takes kinds and fds-denied from different settings", () => {
    const settings = `
[[topic]]
topics = [">"]
fds-denied = "drop"

[[topic]]
topics = ["a"]
fds = ["tty"]
`;
    expect(rulesOf(settings, "a").areAllOrNothing).toBe(true);
    expect([...rulesOf(settings, "a").kinds]).toEqual(["tty"]);
    expect([...rulesOf(settings, "b").kinds]).toEqual([...DEFAULT_FD_KINDS]);
  });

  test.each([
    ["", false],
    ['fds = ["file", "file-read-only"]', false],
    ['fds = ["file-read-only"]', true],
    ['fds = ["file"]', true],
    ['fds = ["pipe"]', true],
  ])("tells read-only files apart only where it matters: %p", (fds, expected) => {
    const rules = rulesOf(`[[topic]]\ntopics = ["a"]\nretain = true\n${fds}\n`, "a");
    expect(rules.tellsReadOnly).toBe(expected);
  });

  test("has the mode of the file", () => {
    const trial = parse(`mode = "permissive"\n${RULE}[[topic]]\ntopics = ["a"]\nfds = ["tty"]\n`);
    expect(fdRulesOf(trial, "a").mode).toBe("permissive");
    expect(fdRulesOf(trial, "b").mode).toBe("permissive");
  });

  test("never takes what has no name", () => {
    const all = FD_KINDS.map((kind) => `"${kind}"`).join(", ");
    const rules = rulesOf(`[[topic]]\ntopics = [">"]\nfds = [${all}]\n`, "a");
    expect(rules.kinds.has("other")).toBe(false);
  });
});

describe("findRefusedFd()", () => {
  const KINDS: readonly FoundFdKind[] = ["file", "pipe", "directory", "socket", "file"];
  const rules = rulesOf("", "a");

  test("finds the first that is not taken, and looks no further", () => {
    const asked: number[] = [];
    const kindOf = (fd: number) => {
      asked.push(fd);
      return KINDS[fd] ?? "other";
    };
    expect(findRefusedFd([0, 1, 2, 3, 4], rules, kindOf)).toEqual({ index: 2, kind: "directory" });
    expect(asked).toEqual([0, 1, 2]);
  });

  test("finds none where all are taken", () => {
    expect(findRefusedFd([0, 1, 4], rules, (fd) => KINDS[fd] ?? "other")).toBeUndefined();
  });
});

describe("fdKindMessage()", () => {
  const fd = { index: 1, count: 3, isUnixSocket: false };

  test("names the fd, its kind, the topic, the setting and what it takes", () => {
    const rules = rulesOf('[[topic]]\ntopics = ["a"]\nfds = ["pipe", "tty"]\n', "a");
    expect(fdKindMessage("a", rules, { ...fd, kind: "device" })).toBe(
      `Cannot send to "a": fd 2 of 3 is a "device", by ${rules.place} the topic takes only pipe, tty`,
    );
  });

  test("says that no setting does it", () => {
    const message = fdKindMessage("a", rulesOf("", "a"), {
      ...fd,
      kind: "socket",
      isUnixSocket: true,
    });
    expect(message).toBe(
      'Cannot send to "a": fd 2 of 3 is a "socket" of AF_UNIX, by default a topic takes only ' +
        "memfd-sealed, memfd, file-read-only, file, pipe, eventfd",
    );
  });

  test("says of what has no name that no policy can name it", () => {
    const message = fdKindMessage("a", rulesOf("", "a"), { ...fd, kind: "other" });
    expect(message).toContain("fd 2 of 3 is of a kind that no policy can name, by default");
  });
});
