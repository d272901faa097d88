/** The check on round trips: an answer that is not that of the round under way must end the run. */

import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildRing } from "../../bench/message-ring.ts";
import { RawSession } from "../../bench/raw-session.ts";
import { startRelay } from "../../bench/relay-server.ts";
import { RoleProcess } from "../../bench/role-process.ts";
import { BODY_WORD, receiveFrame, receiveMessage } from "../../bench/roles/raw-message.ts";
import { PING_TOPIC, PONG_TOPIC } from "../../bench/roles/topic-names.ts";
import { RoundNumber, readRoundNumber, writeRoundNumber } from "../../bench/round-number.ts";
import type { WorkOrder } from "../../bench/work-order.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";

const MESSAGE_BYTES = 64;
const TIMEOUT_MS = 60_000;

/** What a round trip by way of the floor needs to know; it ends after two rounds. */
const ORDER: Omit<WorkOrder, "path"> = {
  relay: "floor",
  messageBytes: MESSAGE_BYTES,
  packetBytes: 0,
  topics: 1,
  payload: "bytes",
  fds: 0,
  readsAll: false,
  publishers: 1,
  source: 0,
  idleSubscriptions: 0,
  idleConnections: 0,
  windowMessages: 1,
  warmUpMs: 0,
  durationMs: 30_000,
  messagesMax: 2,
  policyRules: 0,
  paceMs: 0,
  subscribers: 1,
};

/**
 * Plays the echo for a pinging process.
 * @param answers the number of each pong that answers one ping
 * @returns what went wrong there, or undefined
 */
async function pingAnsweredBy(
  answers: (round: number) => readonly number[],
): Promise<string | undefined> {
  const directory = await mkdtemp(join(tmpdir(), "seqbus-rounds-"));
  const order = { ...ORDER, path: join(directory, "bus.sock") };
  try {
    await using _relay = await startRelay("floor", order);
    const intent = { publish: [PONG_TOPIC], subscribe: PING_TOPIC };
    const session = new RawSession(order.path, "floor", intent);
    const [pong] = buildRing(session.topicIds, MESSAGE_BYTES, 1);
    if (pong === undefined) throw new Error("No packet was built");
    const log = join(directory, "ping.log");
    await using ping = new RoleProcess("roles/raw-ping.ts", order, { log });
    for (let rounds = 0; rounds < 2; rounds += 1) {
      const frame = receiveMessage(session);
      for (const answer of answers(session.buffer.words[frame + BODY_WORD] as number)) {
        pong.buffer.words[BODY_WORD] = answer;
        session.send(pong.buffer, pong.bytes);
      }
    }
    try {
      await ping.expect("latency");
      return undefined;
    } catch {
      return await Bun.file(log).text();
    } finally {
      session.close();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

describe("RoundNumber", () => {
  test("takes the answer to each round once", () => {
    const round = new RoundNumber(MESSAGE_BYTES);
    const body = new Uint8Array(MESSAGE_BYTES);
    for (let rounds = 0; rounds < 3; rounds += 1) {
      writeRoundNumber(body, round.current);
      expect(readRoundNumber(body)).toBe(rounds);
      round.takeBody(body);
    }
    expect(() => round.takeBody(body)).toThrow("Got the answer to round 2, wanted 3");
  });

  test("throws for an answer that is ahead of its round, and for a wrong length", () => {
    const round = new RoundNumber(MESSAGE_BYTES);
    expect(() => round.take(1, MESSAGE_BYTES)).toThrow("Got the answer to round 1, wanted 0");
    expect(() => round.take(0, MESSAGE_BYTES - 1)).toThrow("Got 63 bytes, wanted 64");
  });

  test("starts again behind the last number that four bytes hold", () => {
    const round = new RoundNumber(MESSAGE_BYTES);
    round.current = 0xffff_ffff;
    round.take(0xffff_ffff, MESSAGE_BYTES);
    expect(round.current).toBe(0);
  });
});

describe("receiveFrame()", () => {
  /** A session whose one packet holds frames without a body, of these opcodes. */
  function sessionWith(...opcodes: number[]): RawSession {
    const words = Uint32Array.from(opcodes.flatMap((opcode) => [16, opcode, 0, 0]));
    return { buffer: { words }, receive: () => words.byteLength } as unknown as RawSession;
  }

  test("passes over what comes before a message", () => {
    const session = sessionWith(OPCODE.TOPIC, OPCODE.MESSAGE);
    expect(receiveFrame(session, OPCODE.MESSAGE)).toBe(4);
  });

  test("throws where a second message comes in the same packet", () => {
    const session = sessionWith(OPCODE.MESSAGE, OPCODE.MESSAGE);
    expect(() => receiveFrame(session, OPCODE.MESSAGE)).toThrow("Two came");
  });

  test("throws where the relay refuses something", () => {
    const session = sessionWith(OPCODE.ERROR);
    expect(() => receiveFrame(session, OPCODE.MESSAGE)).toThrow("refused");
  });
});

describe("raw-ping", () => {
  test(
    "ends well where each ping is answered once",
    async () => {
      expect(await pingAnsweredBy((round) => [round])).toBeUndefined();
    },
    TIMEOUT_MS,
  );

  test(
    "fails where a pong is that of another round",
    async () => {
      const log = await pingAnsweredBy((round) => [round === 1 ? 0 : round]);
      expect(log).toContain("Got the answer to round 0, wanted 1");
    },
    TIMEOUT_MS,
  );
});
