/** Compares docs/protocol.md with the constants, so that neither can move alone. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { ErrorCode } from "../../../src/errors.ts";
import * as frame from "../../../src/protocol/frame.ts";
import * as limits from "../../../src/protocol/limits.ts";
import * as opcodes from "../../../src/protocol/opcodes.ts";
import { STATUS, statusName } from "../../../src/protocol/status-codes.ts";
import { topicMatches } from "../../../src/protocol/topics.ts";
import { BODY_FIXTURES } from "./control-message-fixture.ts";

const PAGE = readFileSync(new URL("../../../docs/protocol.md", import.meta.url), "utf8");
const PROSE = proseOf(PAGE);

/** The text with every line break and run of blanks as one blank. */
function proseOf(text: string): string {
  return text.replace(/\s+/g, " ");
}

/** The text under a heading, up to the next heading of any level. */
function section(heading: string): string {
  const start = PAGE.indexOf(`\n${heading}`);
  if (start === -1) throw new Error(`docs/protocol.md has no heading "${heading}"`);
  const end = PAGE.indexOf("\n#", start + 1);
  return PAGE.slice(start, end === -1 ? undefined : end);
}

/** The cells of each table row whose first cell matches. */
function rows(text: string, first: RegExp): string[][] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
    .filter((cells) => first.test(cells[0] ?? ""));
}

function withThousands(value: number): string {
  return value.toLocaleString("en-US");
}

describe("docs/protocol.md", () => {
  const opcodeRows = rows(section("## 4. Opcodes"), /^0x/);

  test("lists every opcode", () => {
    const listed = opcodeRows.map(([number, name]) => [name, Number(number)]);
    expect(Object.fromEntries(listed)).toEqual(opcodes.OPCODE);
    expect(listed).toHaveLength(Object.keys(opcodes.OPCODE).length);
  });

  test.each([
    ["to broker", opcodes.CLIENT_FRAME_RULES],
    ["to client", opcodes.BROKER_FRAME_RULES],
  ] as const)("says what goes %s, and which bodies are empty", (direction, rules) => {
    const listed = opcodeRows
      .filter((cells) => cells[2] === direction || cells[2] === "both")
      .map((cells) => ({ opcode: Number(cells[0]), empty: cells[4] === "empty" }));
    const inCode = rules.map((rule) => ({ opcode: rule.opcode, empty: rule.bodyBytesMax === 0 }));
    expect(listed).toEqual(inCode.toSorted((a, b) => a.opcode - b.opcode));
  });

  test("lays the header out as the code does", () => {
    const listed = rows(section("## 3. Frames"), /^\d+$/).map((cells) => [cells[2], cells[0]]);
    expect(Object.fromEntries(listed)).toEqual({
      bytes: `${frame.FRAME_BYTES_OFFSET}`,
      opcode: `${frame.FRAME_OPCODE_OFFSET}`,
      flags: `${frame.FRAME_FLAGS_OFFSET}`,
      "fd count": `${frame.FRAME_FD_COUNT_OFFSET}`,
      detail: `${frame.FRAME_DETAIL_OFFSET}`,
      id: `${frame.FRAME_ID_OFFSET}`,
      origin: `${frame.FRAME_ORIGIN_OFFSET}`,
      body: `${limits.FRAME_HEADER_BYTES}`,
    });
  });

  test("lists every status number", () => {
    const pairs = rows(section("## 6. Status numbers"), /^\d+$/).flatMap((cells) => [
      [cells[1], Number(cells[0])],
      [cells[3], Number(cells[2])],
    ]);
    const named = pairs.filter(([name]) => name !== "");
    expect(Object.fromEntries(named)).toEqual(STATUS);
  });

  test("lists the flags and feature bits", () => {
    const features = rows(section("### HELLO"), /^0x/);
    expect(features.map((cells) => [Number(cells[0]), cells[1]])).toEqual([
      [opcodes.FEATURE_FD_LANE, "FD_LANE"],
      [opcodes.FEATURE_HELD, "HELD"],
      [opcodes.FEATURE_PAUSE, "PAUSE"],
    ]);
    const flags = rows(section("### MESSAGE"), /^0x/).map((cells) => Number(cells[0]));
    expect(flags).toEqual([
      opcodes.FLAGS_ENCODING_MASK,
      opcodes.FLAG_LARGE,
      opcodes.FLAG_RETAINED,
      opcodes.FLAG_FDS_ON_LANE,
      opcodes.FLAG_FDS_WITHHELD,
    ]);
    const encoding = opcodes.ENCODING;
    expect(PROSE).toContain(
      `${encoding.BYTES} bytes, ${encoding.TEXT} UTF-8 text, ${encoding.JSON} JSON, ` +
        `${encoding.MSGPACK} msgpack`,
    );
    expect(opcodes.FLAG_FATAL).toBe(0x01);
    expect(proseOf(section("### ERROR"))).toContain("Flag 0x01 (FATAL)");
    expect(proseOf(section("### GAP"))).toContain(
      `\`reason\`: ${opcodes.GAP_REASON.SEND_QUEUE_FULL} = the send queue of this connection was full; ` +
        `${opcodes.GAP_REASON.BODY_REFUSED} = the kernel did not pass on the fd of a large body; ` +
        `${opcodes.GAP_REASON.OLDEST_DROPPED} = they were the oldest, and made room for newer ones; ` +
        `${opcodes.GAP_REASON.SUPERSEDED} = a newer message of the same topic stands for them; ` +
        `${opcodes.GAP_REASON.BODY_EXPIRED} = the fd of a large body waited too long.`,
    );
    const withheld = opcodes.WITHHELD_REASON;
    expect(PROSE).toContain(
      `${withheld.POLICY} = the policy does not let this client receive them; ` +
        `${withheld.KERNEL} = the kernel did not pass them on; ` +
        `${withheld.EXPIRED} = they waited too long`,
    );
    expect(PROSE).toContain("With the flag 0x01 (WAIT_FDS) the ACK");
    expect(opcodes.FLAG_WAIT_FDS).toBe(0x01);
    const replyFlags = rows(section("### REPLY"), /^0x/).map((cells) => cells[0]);
    expect(replyFlags.slice(1).map(Number)).toEqual([opcodes.FLAG_MORE, opcodes.FLAG_FAILED]);
    const requestFlags = rows(section("### REQUEST"), /^0x/).map((cells) => cells[0]);
    expect(requestFlags.slice(1).map(Number)).toEqual([opcodes.FLAG_STREAM]);
    expect(proseOf(section("### CANCEL"))).toContain("Flag 0x01 (TIMED_OUT)");
    expect(proseOf(section("### CANCEL"))).toContain("Flag 0x02 (CALLER_GONE)");
    expect([opcodes.FLAG_TIMED_OUT, opcodes.FLAG_CALLER_GONE]).toEqual([0x01, 0x02]);
  });

  const packetMax = withThousands(limits.PACKET_BYTES_MAX);
  const bodyMax = withThousands(limits.CONTROL_BODY_BYTES_MAX);
  test.each([
    [`# The seqbus protocol, version ${limits.PROTOCOL_VERSION} `],
    [`\`protocol\`: ${limits.PROTOCOL_VERSION}.`],
    [`${limits.FRAME_HEADER_BYTES} to ${packetMax} bytes long`],
    [`its length is a multiple of ${limits.FRAME_ALIGNMENT_BYTES}.`],
    [`a buffer of ${packetMax} bytes and room for ${limits.MESSAGE_FDS_MAX} fds`],
    [`travel with the frame, at most ${limits.MESSAGE_FDS_MAX} `],
    [`without padding; at least ${limits.FRAME_HEADER_BYTES} `],
    [`at most ${bodyMax} bytes and nests at most ${limits.CONTROL_BODY_DEPTH_MAX} deep`],
    [`free text for the log, at most ${limits.SOFTWARE_BYTES_MAX} bytes`],
    [`1 to ${limits.TOPIC_BYTES_MAX} bytes: 1 to ${limits.TOPIC_TOKENS_MAX} tokens`],
    [`A body in a frame has at most ${withThousands(limits.MESSAGE_BODY_BYTES_MAX)} bytes`],
    [`one in memory at most ${withThousands(limits.LARGE_BODY_BYTES_MAX)};`],
    [`a body of exactly ${limits.LARGE_SIZE_BYTES} bytes, a u64`],
    [`Files that the message carries besides follow, at most ${limits.MESSAGE_FDS_MAX - 1}.`],
    [`supplementary group ids, the first ${limits.SENDER_GROUPS_MAX} of them`],
    [`a prefix of ${limits.BODY_PREFIX_BYTES} bytes stands before the body proper`],
    [`the queue group to join, 1 to ${limits.GROUP_BYTES_MAX} visible ASCII characters`],
    [`connection ids, the first ${limits.SERVICE_OWNERS_TOLD_MAX} of them`],
    [`A call starts with a credit of ${limits.STREAM_CREDIT_START}.`],
    [`Fd count is ${limits.CHANNEL_FDS}, and the flag may be FDS_ON_LANE`],
  ])("says %p", (words) => {
    expect(PROSE).toContain(words);
  });

  test("gives lane records their size", () => {
    const fields = rows(section("## 7. The fd lane"), /^\d+$/);
    expect(fields.reduce((sum, cells) => sum + Number(cells[1]), 0)).toBe(limits.LANE_RECORD_BYTES);
  });

  test.each(BODY_FIXTURES.map((fixture) => [fixture.name, fixture] as const))(
    "lists the keys of %s",
    (name, fixture) => {
      const keys = Object.keys(fixture.example).map((key) =>
        fixture.optionalKeys.includes(key) ? `${key}?` : key,
      );
      const [request, answer] = name.split(" → ");
      const heading = section(`### ${request} `).trimStart().split("\n")[0] ?? "";
      const part = heading.split("→")[answer === undefined ? 0 : 1];
      expect(part).toContain(`\`{${keys.join(", ")}}\``);
    },
  );

  test("gives examples of matching that are true", () => {
    const examples = rows(section("## 5. Topics and patterns"), /^`/);
    expect(examples).toHaveLength(4);
    for (const [pattern = "", yes = "", no = ""] of examples) {
      const quoted = (cell: string) =>
        [...cell.matchAll(/`([^`…]+)`/g)].map(([, name]) => name ?? "");
      for (const name of quoted(yes))
        expect(topicMatches(quoted(pattern)[0] ?? "", name)).toBe(true);
      for (const name of quoted(no))
        expect(topicMatches(quoted(pattern)[0] ?? "", name)).toBe(false);
    }
  });

  test("sorts the status numbers into its ranges", () => {
    const ranges: readonly [prefix: string, from: number, to: number][] = [
      ["PROTOCOL", 1, 31],
      ["REJECTED", 32, 63],
      ["LIMIT", 64, 95],
      ["CLOSED", 96, 127],
      ["TIMEOUT", 128, 159],
      ["CONFIG", 160, 191],
    ];
    const names = Object.keys(STATUS) as (keyof typeof STATUS & ErrorCode)[];
    for (const name of names) {
      const range = ranges.find(([prefix]) => name.startsWith(`${prefix}_`));
      expect(STATUS[name]).toBeGreaterThanOrEqual(range?.[1] ?? Number.NaN);
      expect(STATUS[name]).toBeLessThanOrEqual(range?.[2] ?? Number.NaN);
    }
    for (const [, from, to] of ranges) expect(PROSE).toContain(`${from}-${to}`);
  });
});

describe("statusName()", () => {
  test("is the inverse of STATUS, and undefined for other numbers", () => {
    for (const [name, status] of Object.entries(STATUS)) {
      expect<string | undefined>(statusName(status)).toBe(name);
    }
    expect(statusName(31)).toBe(undefined);
  });
});
