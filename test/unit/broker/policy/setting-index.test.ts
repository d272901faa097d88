import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { TopicSetting } from "../../../../src/broker/policy/rules.ts";
import { SettingIndex } from "../../../../src/broker/policy/setting-index.ts";
import { topicMatches } from "../../../../src/protocol/topics.ts";
import { parse } from "./policy-fixture.ts";

const RULE = '[[rule]]\nallow = ["publish"]\ntopics = [">"]\nany = true\n';

/** A setting of one pattern, told apart by its line. */
function setting(line: number, pattern: string, values: Partial<TopicSetting>): TopicSetting {
  return { path: "policy.toml", line, topics: [pattern], ...values };
}

describe("SettingIndex.find()", () => {
  const NARROWING = [">", "camera.>", "camera.*.>", "camera.*.*", "camera.*.frames"];

  test("takes the narrowest pattern, in whatever order they stand", () => {
    const settings = [...NARROWING, "camera.front.>", "camera.front.frames"].map((pattern, line) =>
      setting(line, pattern, { fds: ["file"] }),
    );
    for (const order of [settings, settings.toReversed()]) {
      const index = new SettingIndex(order);
      const patternOf = (topic: string) => index.find(topic, "fds")?.topics[0];
      expect(patternOf("camera.front.frames")).toBe("camera.front.frames");
      expect(patternOf("camera.front.sound")).toBe("camera.front.>");
      expect(patternOf("camera.rear.frames")).toBe("camera.*.frames");
      expect(patternOf("camera.rear.sound")).toBe("camera.*.*");
      expect(patternOf("camera.rear.sound.raw")).toBe("camera.*.>");
      expect(patternOf("camera.rear")).toBe("camera.>");
      expect(patternOf("camera")).toBe(">");
    }
  });

  test("looks for each key by itself", () => {
    const index = new SettingIndex([
      setting(1, ">", { fdsDenied: "drop", fds: ["file"] }),
      setting(2, "camera.>", { fds: ["memfd-sealed"] }),
      setting(3, "camera.front", { retain: true }),
    ]);
    expect(index.find("camera.front", "fds")?.line).toBe(2);
    expect(index.find("camera.front", "fdsDenied")?.line).toBe(1);
    expect(index.find("camera.front", "retain")?.line).toBe(3);
    expect(index.find("camera.front", "overflow")).toBeUndefined();
    expect(index.find("radio", "fds")?.line).toBe(1);
  });

  test("finds a value that is false", () => {
    const index = new SettingIndex([
      setting(1, ">", { retain: true }),
      setting(2, "a", { retain: false }),
    ]);
    expect(index.find("a", "retain")?.line).toBe(2);
  });

  test("matches no wildcard with the first token of a topic of the bus", () => {
    const index = new SettingIndex([
      setting(1, ">", { retain: true }),
      setting(2, "*.clients", { retain: true }),
      setting(3, "$bus.>", { retain: false }),
    ]);
    expect(index.find("$bus.clients", "retain")?.line).toBe(3);
    expect(index.find("$other.clients", "retain")).toBeUndefined();
  });

  test("agrees with comparing every pattern", () => {
    const token = fc.constantFrom("a", "b", "*");
    const pattern = fc
      .tuple(fc.array(token, { minLength: 1, maxLength: 3 }), fc.boolean())
      .map(([tokens, isOpen]) => [...tokens, ...(isOpen ? [">"] : [])].join("."));
    const topic = fc
      .array(fc.constantFrom("a", "b"), { minLength: 1, maxLength: 4 })
      .map((tokens) => tokens.join("."));
    fc.assert(
      fc.property(fc.uniqueArray(pattern, { maxLength: 12 }), topic, (patterns, name) => {
        const settings = patterns.map((text, line) => setting(line, text, { fds: ["file"] }));
        const [narrowest] = patterns
          .filter((text) => topicMatches(text, name))
          .toSorted((one, other) => (widthOf(one) < widthOf(other) ? -1 : 1));
        expect(new SettingIndex(settings).find(name, "fds")?.topics[0]).toBe(narrowest);
      }),
    );
  });
});

test("a policy brings its settings along, found by line", () => {
  const policy = parse(`${RULE}[[topic]]\ntopics = ["camera.>"]\nfds = ["memfd-sealed"]\n`);
  expect(policy.settings.find("camera.front", "fds")).toMatchObject({
    line: 5,
    fds: ["memfd-sealed"],
  });
});

/** Compares as text in the order of widths: a name, `*`, `>`. */
function widthOf(pattern: string): string {
  return pattern
    .split(".")
    .map((token) => (token === ">" ? "2" : token === "*" ? "1" : "0"))
    .join("");
}
