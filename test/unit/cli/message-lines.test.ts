/** Bodies of strangers as lines: one line each, nothing lost, nothing that a terminal obeys. */

import { describe, expect, test } from "bun:test";
import { humanLine, humanNotice, jsonFields, jsonNotice } from "../../../src/cli/message-lines.ts";
import { printable } from "../../../src/cli/printable-text.ts";
import { type EncodingName, encodeBody } from "../../../src/client/body-codec.ts";
import { Message } from "../../../src/client/message.ts";
import { ReceivedFds } from "../../../src/client/received-fds.ts";
import { ENCODING, type Encoding, WITHHELD_REASON } from "../../../src/protocol/opcodes.ts";

const SENDER = {
  connection: 1,
  uid: 1000,
  gid: 100,
  pid: 42,
  groups: [100],
  unit: undefined,
  exe: undefined,
};

function received(
  encoding: Encoding,
  body: Uint8Array,
  { withheldDetail = 0, retained = false } = {},
): Message {
  const none = ReceivedFds.NONE;
  return new Message(
    "a.b",
    SENDER,
    encoding,
    body,
    0,
    body.length,
    none,
    withheldDetail,
    undefined,
    retained,
  );
}

function encoded(data: unknown, name: EncodingName = "auto"): Message {
  const { encoding, bytes } = encodeBody(data, name);
  return received(encoding, bytes.slice());
}

function text(encoding: Encoding, body: string): Message {
  return received(encoding, new TextEncoder().encode(body));
}

const DEEP = `${"[".repeat(20_000)}${"]".repeat(20_000)}`;

describe("humanLine()", () => {
  test.each([
    ["text", encoded("hello"), "hello"],
    ["text of echo", encoded("hello\n"), "hello"],
    ["two lines", encoded("a\nb"), "a\\nb"],
    ["a terminal's escape", encoded("\u001b[31mred\u009b1m"), "\\u{1b}[31mred\\u{9b}1m"],
    ["reversed text", encoded("a\u202eb"), "a\\u{202e}b"],
    ["msgpack", encoded({ n: 1, b: new Uint8Array([1]) }), '{"n":1,"b":{"bytesBase64":"AQ=="}}'],
    ["a large integer", encoded({ n: 2n ** 63n - 1n }), '{"n":"9223372036854775807"}'],
    ["JSON with numbers beyond a double", text(ENCODING.JSON, "[1e400,1.10]"), "[1e400,1.10]"],
    ["bytes", encoded(new Uint8Array([0, 255])), "(2 bytes) 00ff"],
    ["no bytes", encoded(new Uint8Array()), "(empty)"],
    ["many bytes", encoded(new Uint8Array(40)), `(40 bytes) ${"00".repeat(32)}…`],
    ["what is no JSON", text(ENCODING.JSON, "{"), "(1 byte, not the json that it claims to be)"],
    [
      "what is no UTF-8",
      received(ENCODING.TEXT, new Uint8Array([255])),
      "(1 byte, not the text that it claims to be)",
    ],
  ])("shows %s", (_what, message, data) => {
    expect(humanLine(message)).toBe(`a.b  uid=1000 pid=42  ${data}`);
  });

  test.each([
    ["policy", WITHHELD_REASON.POLICY, "files withheld by the policy"],
    ["kernel", WITHHELD_REASON.KERNEL, "files withheld by the kernel, which did not pass them on"],
    ["expired", WITHHELD_REASON.EXPIRED, "files expired: they were not taken in time"],
    ["unknown", 200, "files withheld"],
  ])("says that files were withheld, and why: %s", (reason, withheldDetail, words) => {
    const message = received(ENCODING.TEXT, new Uint8Array(), { withheldDetail });
    expect(humanLine(message)).toEndWith(`  [${words}]`);
    const fields = JSON.parse(`{${jsonFields(message)}}`);
    expect(fields).toMatchObject({ fdsWithheld: true, fdsWithheldReason: reason });
  });

  test("marks a last value", () => {
    const message = received(ENCODING.TEXT, new Uint8Array(), { retained: true });
    expect(humanLine(message)).toEndWith("  [retained]");
    expect(jsonFields(message)).toEndWith('"retained":true');
  });

  test("survives a body that nests too deep to be written", () => {
    expect(humanLine(text(ENCODING.JSON, DEEP))).not.toContain("\n");
  });
});

describe("jsonFields()", () => {
  test.each([
    ["text", encoded("a\nb"), { encoding: "text", data: "a\nb" }],
    ["JSON", encoded([1, null], "json"), { encoding: "json", data: [1, null] }],
    ["bytes", encoded(new Uint8Array([1])), { encoding: "bytes", bytesBase64: "AQ==" }],
    ["what is no JSON", text(ENCODING.JSON, "{"), { encoding: "json", bytesBase64: "ew==" }],
  ])("gives %s", (_what, message, fields) => {
    const parsed = JSON.parse(`{${jsonFields(message)}}`);
    const sender = { ...SENDER, unit: null, exe: null };
    expect(parsed).toEqual({ topic: "a.b", sender, ...fields });
  });

  test("keeps an integer that no double holds", () => {
    const line = jsonFields(text(ENCODING.JSON, '{"n":12345678901234567890}'));
    expect(line).toContain('"data":{"n":12345678901234567890}');
  });

  test("stays one object for a body that nests too deep to be written", () => {
    expect(JSON.parse(`{${jsonFields(text(ENCODING.JSON, DEEP))}}`)).toHaveProperty("topic", "a.b");
  });
});

describe("notices", () => {
  const gap = { type: "gap", topic: "a.b", count: 2, reason: "send-queue-full" } as const;

  test("jsonNotice() and humanNotice() tell of lost messages", () => {
    const { type: _type, ...fields } = gap;
    expect(JSON.parse(jsonNotice(gap))).toEqual({ gap: fields });
    expect(humanNotice(gap)).toBe('2 messages lost on "a.b": send-queue-full');
  });

  test("jsonNotice() and humanNotice() tell of lost files", () => {
    const lost = { type: "fds-lost", topic: "a.b", count: 1 } as const;
    expect(JSON.parse(jsonNotice(lost))).toEqual({ fdsLost: { topic: "a.b", count: 1 } });
    expect(humanNotice(lost)).toStartWith('1 file lost on "a.b"');
  });

  test("jsonNotice() and humanNotice() tell of a gap that nobody can count", () => {
    const unknown = {
      type: "gap",
      topic: undefined,
      count: undefined,
      reason: "disconnected",
    } as const;
    expect(JSON.parse(jsonNotice(unknown))).toEqual({
      gap: { topic: null, count: null, reason: "disconnected" },
    });
    expect(humanNotice(unknown)).toBe("Messages may be missing: disconnected");
  });
});

describe("printable()", () => {
  test("leaves text of all languages as it is", () => {
    expect(printable("Grüße, 世界 🙂 \\n")).toBe("Grüße, 世界 🙂 \\n");
  });

  test("replaces every C0 and C1 character and DEL", () => {
    const controls = Array.from({ length: 0xa0 }, (_, code) => String.fromCharCode(code));
    const shown = printable(controls.join(""));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none of them may be left
    expect(shown).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
  });
});
