/** Which services a bus keeps open at the broker, where it calls more than there is room for. */

import { beforeEach, describe, expect, test } from "bun:test";
import { OPEN_SERVICES_MAX, RECONNECT_MS_FIRST } from "../../../src/client/limits.ts";
import { planReconnect } from "../../../src/client/reconnection.ts";
import { OPCODE } from "../../../src/protocol/opcodes.ts";
import { STATUS } from "../../../src/protocol/status-codes.ts";
import { mapOf, SimulatedBus, splitPrefix } from "./simulated-bus.ts";
import type { SentFrame } from "./simulated-transport.ts";

let simulated: SimulatedBus;

beforeEach(async () => {
  simulated = await SimulatedBus.open(planReconnect({}));
});

/** A broker that has room for `room` services, and answers each call with its own text. */
class SmallBroker {
  readonly open = new Map<number, string>();
  mostOpen = 0;
  refusals = 0;
  #lastId = 0;
  readonly #room: number;

  constructor(room: number) {
    this.#room = room;
  }

  /** Answers until nothing comes any more. */
  async serve(): Promise<void> {
    for (;;) {
      const frames = await simulated.sent();
      if (frames.length === 0) return;
      for (const frame of frames) this.#answer(frame);
    }
  }

  #answer(frame: SentFrame): void {
    const { opcode, id, body } = frame;
    if (opcode === OPCODE.CLOSE_SERVICE) expect(this.open.delete(id)).toBe(true);
    else if (opcode === OPCODE.REQUEST) {
      const [call, , text] = splitPrefix(body);
      expect(this.open.get(id)).toBe(text);
      simulated.reply(call, text);
    } else this.#openOne(id, String(mapOf(frame)["service"]));
  }

  #openOne(requestId: number, name: string): void {
    if (this.open.size >= this.#room) {
      this.refusals += 1;
      const refusal = { status: STATUS.LIMIT_TOPICS, message: "full" };
      return simulated.control(OPCODE.ERROR, requestId, refusal);
    }
    this.#lastId += 1;
    this.open.set(this.#lastId, name);
    this.mostOpen = Math.max(this.mostOpen, this.open.size);
    simulated.control(OPCODE.ACK, requestId, { service: this.#lastId, sendFds: true });
  }
}

/** Calls each of them with its own name. @returns the answers, or codes of errors */
function callAll(names: readonly string[]): Promise<unknown[]> {
  const call = (name: string) =>
    simulated.bus.call(name, name, { timeoutMs: 1_000 }).then(
      ({ data }) => data,
      (error) => error.code,
    );
  return Promise.all(names.map(call));
}

function manyNames(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `s.n${index}`);
}

describe("calls of more services than may be open", () => {
  test("are all answered, and never more than OPEN_SERVICES_MAX are open", async () => {
    const broker = new SmallBroker(OPEN_SERVICES_MAX);
    const names = manyNames(3 * OPEN_SERVICES_MAX);
    const answers = callAll(names);
    await broker.serve();
    expect(await answers).toEqual(names);
    expect([broker.mostOpen, broker.refusals]).toEqual([OPEN_SERVICES_MAX, 0]);
  });

  test("close one that was not called again, and open it again when it is", async () => {
    const broker = new SmallBroker(OPEN_SERVICES_MAX);
    const names = manyNames(OPEN_SERVICES_MAX);
    const first = callAll(names);
    await broker.serve();
    await first;
    const second = callAll(["s.n0", "s.more"]);
    await broker.serve();
    expect(await second).toEqual(["s.n0", "s.more"]);
    const open = new Set(broker.open.values());
    expect(["s.n0", "s.n1", "s.n2", "s.more"].map((name) => open.has(name))).toEqual([
      true,
      false,
      true,
      true,
    ]);
    const third = callAll(["s.n1"]);
    await broker.serve();
    expect(await third).toEqual(["s.n1"]);
  });

  test("make do with the room that the broker has", async () => {
    const broker = new SmallBroker(7);
    const names = manyNames(100);
    const answers = callAll(names);
    await broker.serve();
    expect(await answers).toEqual(names);
    const before = broker.refusals;
    const again = callAll(names);
    await broker.serve();
    expect(await again).toEqual(names);
    expect(broker.refusals).toBe(before);
  });

  test.each([1, 7])("find one to close where all %d of them were called again", async (room) => {
    const broker = new SmallBroker(room);
    const names = manyNames(room + 1);
    for (const name of [...names, ...names].flatMap((one) => [one, one, one])) {
      const answer = callAll([name]);
      await broker.serve();
      expect(await answer).toEqual([name]);
    }
  });

  test("are LIMIT_TOPICS where there is no room even for one", async () => {
    const broker = new SmallBroker(0);
    const answers = callAll(manyNames(20));
    await broker.serve();
    expect(new Set(await answers)).toEqual(new Set(["LIMIT_TOPICS"]));
  });

  test("go on when one gives its place up that waited for somebody who serves it", async () => {
    await simulated.lose();
    const waits = callAll(["absent"]);
    await simulated.comeBack();
    const open = await simulated.sentOne(OPCODE.OPEN_SERVICE);
    simulated.control(OPCODE.ACK, open.id, { service: 5, sendFds: true });
    const [call] = splitPrefix((await simulated.sentOne(OPCODE.REQUEST)).body);
    const nobody = { status: STATUS.REJECTED_NO_SERVICE, message: "nobody" };
    simulated.control(OPCODE.ERROR, call, nobody);
    await simulated.sentOne(OPCODE.WATCH);
    void callAll(["other"]);
    const refused = await simulated.sentOne(OPCODE.OPEN_SERVICE);
    const full = { status: STATUS.LIMIT_TOPICS, message: "full" };
    simulated.control(OPCODE.ERROR, refused.id, full);
    expect(await simulated.sent()).toEqual([]);
    simulated.clock.pass(1_000 - RECONNECT_MS_FIRST);
    expect(await waits).toEqual(["REJECTED_NO_SERVICE"]);
    const [close, again] = await simulated.sent();
    expect([close?.opcode, close?.id]).toEqual([OPCODE.CLOSE_SERVICE, 5]);
    expect(again && mapOf(again)).toEqual({ service: "other" });
  });

  test("may all wait, and be given up, and leave nothing to be asked for", async () => {
    const answers = callAll(manyNames(OPEN_SERVICES_MAX + 10));
    expect(await simulated.sent()).toHaveLength(OPEN_SERVICES_MAX);
    simulated.clock.pass(1_000);
    expect(new Set(await answers)).toEqual(new Set(["TIMEOUT_CALL"]));
    expect(await simulated.sent()).toEqual([]);
  });

  test("go on with the next connection", async () => {
    const names = manyNames(OPEN_SERVICES_MAX + 10);
    const answers = callAll(names);
    expect(await simulated.sent()).toHaveLength(OPEN_SERVICES_MAX);
    await simulated.lose();
    await simulated.comeBack();
    await new SmallBroker(OPEN_SERVICES_MAX).serve();
    expect(await answers).toEqual(names);
  });
});
