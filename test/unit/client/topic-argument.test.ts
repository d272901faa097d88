import { describe, expect, test } from "bun:test";
import { checkPatternArgument, checkTopicArgument } from "../../../src/client/topic-argument.ts";
import { ArgumentError } from "../../../src/errors.ts";

function thrownBy(action: () => void): ArgumentError {
  try {
    action();
  } catch (error) {
    if (error instanceof ArgumentError) return error;
    throw error;
  }
  throw new Error("Nothing was thrown");
}

describe("checkTopicArgument()", () => {
  test("takes a name that is well-formed", () => {
    expect(checkTopicArgument("sensors.kitchen", "Cannot publish on")).toBeUndefined();
  });

  test("names what was asked for, the name, and what is wrong with it", () => {
    const error = thrownBy(() => checkTopicArgument("bad..topic", "Cannot watch", "service"));
    expect(error.message).toBe('Cannot watch "bad..topic": it has an empty token');
    expect(error).toMatchObject({ code: "ARGUMENT_TOPIC", argument: "service" });
  });

  test("shows what does not print as an escape", () => {
    const error = thrownBy(() => checkTopicArgument("a\u001b[31m", "Cannot call"));
    expect(error.message).toStartWith('Cannot call "a\\u001b[31m": it has a character');
  });

  test("shows the beginning of a long name", () => {
    const error = thrownBy(() => checkTopicArgument("x".repeat(300), "Cannot call"));
    const beginning = "x".repeat(80);
    expect(error.message).toBe(`Cannot call "${beginning}"…: it is longer than 255 bytes`);
  });

  test.each([
    [undefined, "undefined"],
    [null, "null"],
    [7, "number"],
  ])("refuses %p, which is no string", (name, shown) => {
    const error = thrownBy(() => checkTopicArgument(name as unknown as string, "Cannot call"));
    expect(error.message).toBe(`Cannot call ${shown}: it is not a string`);
  });
});

describe("checkPatternArgument()", () => {
  test("takes wildcards", () => {
    expect(checkPatternArgument("sensors.*.>")).toBeUndefined();
  });

  test("names the pattern and what is wrong with it", () => {
    const error = thrownBy(() => checkPatternArgument("a.>b"));
    expect(error.message).toBe('Cannot subscribe to "a.>b": "*" or ">" is only a part of a token');
    expect(error).toMatchObject({ code: "ARGUMENT_PATTERN", argument: "pattern" });
  });

  test("refuses what is no string", () => {
    const error = thrownBy(() => checkPatternArgument({} as unknown as string));
    expect(error.message).toBe("Cannot subscribe to object: it is not a string");
  });
});
