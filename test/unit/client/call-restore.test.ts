/** Calls that outlive their connection: those that are idempotent, and those that never left. */

import { beforeEach, describe, expect, test } from "bun:test";
import { type CallOptions, Memory } from "../../../src/client/index.ts";
import { planReconnect } from "../../../src/client/reconnection.ts";
import { LARGE_BODY_BYTES_MAX } from "../../../src/protocol/limits.ts";
import { FLAG_MORE, OPCODE } from "../../../src/protocol/opcodes.ts";
import { STATUS } from "../../../src/protocol/status-codes.ts";
import { TestFiles } from "../../support/test-files.ts";
import { PEER, SimulatedBus, splitPrefix } from "./simulated-bus.ts";
import { isOpenFd } from "./simulated-transport.ts";

const OLD = 33;
const NEW = 44;
const NOBODY = { status: STATUS.REJECTED_NO_SERVICE, message: "nobody" };

let simulated: SimulatedBus;

beforeEach(async () => {
  simulated = await SimulatedBus.open(planReconnect({}));
});

/** Answers the one OPEN_SERVICE that was sent. */
async function openService(service: number): Promise<void> {
  const { id } = await simulated.sentOne(OPCODE.OPEN_SERVICE);
  simulated.control(OPCODE.ACK, id, { service, sendFds: true });
}

/** The requests that were sent: number of the call, its time-out, and its text. */
async function requests(): Promise<ReturnType<typeof splitPrefix>[]> {
  const frames = await simulated.sent();
  expect(frames.map(({ opcode }) => opcode)).toEqual(frames.map(() => OPCODE.REQUEST));
  return frames.map(({ body }) => splitPrefix(body));
}

/** Calls "a.b". What the promise is rejected with is its value. */
function call(text: string, options?: CallOptions): Promise<unknown> {
  return simulated.bus.call("a.b", text, options).then(
    ({ data }) => data,
    (error: unknown) => error,
  );
}

/** A call that has left. */
async function callSent(
  text: string,
  options?: CallOptions,
): Promise<{ result: Promise<unknown> }> {
  const result = call(text, options);
  await openService(OLD);
  expect(await requests()).toHaveLength(1);
  return { result };
}

async function reconnect(): Promise<void> {
  await simulated.lose();
  await simulated.comeBack();
}

describe("a call that has left when the connection is lost", () => {
  test("fails with CLOSED_BY_BROKER where that said goodbye", async () => {
    const { result } = await callSent("x");
    const goodbye = { status: STATUS.CLOSED_BY_BROKER, message: "bye" };
    simulated.control(OPCODE.GOODBYE, 0, goodbye);
    await simulated.lose();
    expect(await result).toMatchObject({ code: "CLOSED_BY_BROKER" });
  });

  test("is made again where it is idempotent, with its files and the time that is left", async () => {
    using files = new TestFiles(["content"]);
    const { result } = await callSent("x", { idempotent: true, timeoutMs: 1_000, fds: files.fds });
    simulated.clock.pass(300);
    await reconnect();
    await openService(NEW);
    const [frame] = await simulated.sent();
    expect([frame?.opcode, frame?.id, frame?.fdCount]).toEqual([OPCODE.REQUEST, NEW, 1]);
    const [id, timeoutMs, text] = splitPrefix(frame?.body ?? new Uint8Array(8));
    // 50 ms went into the pause before the attempt.
    expect([timeoutMs, text]).toEqual([650, "x"]);
    const kept = simulated.transport.packets.flatMap(({ fds }) => fds);
    expect(kept.every(isOpenFd)).toBe(true);
    simulated.reply(id, "answer");
    expect(await result).toBe("answer");
    expect(kept.some(isOpenFd)).toBe(false);
    expect(simulated.clock.running).toBeLessThanOrEqual(1);
  });

  test("is not said to be unasked where its time runs out before there is another", async () => {
    const { result } = await callSent("x", { idempotent: true, timeoutMs: 20 });
    await simulated.lose();
    simulated.clock.pass(20);
    const late =
      'The service "a.b" did not answer within 20 ms: the connection was lost, and there';
    expect(String(await result)).toContain(late);
  });

  test("is made again as often as that happens, in order and before later ones", async () => {
    const first = await callSent("1", { idempotent: true });
    const second = call("2", { idempotent: true });
    expect(await requests()).toHaveLength(1);
    await simulated.lose();
    const third = call("3");
    await simulated.comeBack();
    const { id } = await simulated.sentOne(OPCODE.OPEN_SERVICE);
    simulated.control(OPCODE.ACK, id, { service: NEW, sendFds: true });
    expect((await requests()).map(([, , text]) => text)).toEqual(["1", "2", "3"]);
    await simulated.lose();
    expect(await third).toMatchObject({ code: "CLOSED_BY_PEER" });
    await simulated.comeBack(1_000);
    await openService(NEW);
    const again = await requests();
    expect(again.map(([, , text]) => text)).toEqual(["1", "2"]);
    for (const [number, , text] of again) simulated.reply(number, text);
    expect(await Promise.all([first.result, second])).toEqual(["1", "2"]);
  });

  test("fails where it is a stream, also behind parts that are still read", async () => {
    const options = { timeoutMs: 1_000, idempotent: true };
    const stream = simulated.bus.callStream("a.b", "x", options);
    await openService(OLD);
    const [[id] = [0]] = await requests();
    simulated.reply(id, "part", { flags: FLAG_MORE });
    await simulated.lose();
    expect((await stream.next()).value?.data).toBe("part");
    await expect(stream.next()).rejects.toMatchObject({ code: "CLOSED_BY_PEER" });
    await simulated.comeBack();
    expect(await simulated.sent()).toEqual([]);
  });

  test("fails where nothing may wait for the next connection", async () => {
    simulated = await SimulatedBus.open(planReconnect({ whileDisconnected: "refuse" }));
    const { result } = await callSent("x", { idempotent: true });
    await simulated.lose();
    expect(await result).toMatchObject({ code: "CLOSED_BY_PEER" });
    await simulated.comeBack();
    expect(await simulated.sent()).toEqual([]);
  });

  test("fails where it had waited for a connection, and left on one that is lost, too", async () => {
    await simulated.lose();
    const result = call("x");
    await simulated.comeBack();
    await openService(NEW);
    expect(await requests()).toHaveLength(1);
    await simulated.lose();
    expect(await result).toMatchObject({ code: "CLOSED_BY_PEER" });
    await simulated.comeBack(1_000);
    expect(await simulated.sent()).toEqual([]);
  });

  test("is given up in the gap, and nothing is sent of it", async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const { result } = await callSent("x", { idempotent: true, signal });
    await simulated.lose();
    controller.abort(new Error("enough"));
    expect(await result).toMatchObject({ message: "enough" });
    await simulated.comeBack();
    expect(await simulated.sent()).toEqual([]);
  });
});

describe("a call that waited for its service to open", () => {
  test("is not kept any longer once it has left", async () => {
    using files = new TestFiles(["content"]);
    const before = openFds();
    const result = call("x", { fds: files.fds });
    expect(openFds()).toBe(before + 1);
    await openService(OLD);
    expect((await simulated.sentOne(OPCODE.REQUEST)).fdCount).toBe(1);
    expect(openFds()).toBe(before);
    await simulated.bus.close();
    await result;
  });
});

describe("a call without a connection", () => {
  test("waits for the next one, and leaves with the time that is left", async () => {
    await simulated.lose();
    const results = [call("1", { timeoutMs: 500 }), call("2", { timeoutMs: 500 })];
    await simulated.comeBack();
    await openService(NEW);
    const sent = await requests();
    expect(sent.map(([, ms, text]) => [ms, text])).toEqual([
      [450, "1"],
      [450, "2"],
    ]);
    for (const [id, , text] of sent) simulated.reply(id, text);
    expect(await Promise.all(results)).toEqual(["1", "2"]);
  });

  test("is refused where the next broker does not open its service", async () => {
    await simulated.lose();
    const result = call("x");
    await simulated.comeBack();
    const { id } = await simulated.sentOne(OPCODE.OPEN_SERVICE);
    simulated.control(OPCODE.ERROR, id, { status: STATUS.REJECTED_BY_POLICY, message: "no" });
    expect(await result).toMatchObject({ code: "REJECTED_BY_POLICY" });
    await Bun.sleep(0);
    expect(simulated.bus.isConnected).toBe(true);
  });

  test("is TIMEOUT_CALL where none comes in time, and is not sent any more", async () => {
    await simulated.lose();
    const result = call("x", { timeoutMs: 20, idempotent: true });
    const next = simulated.bus.callStream("a.b", "x", { timeoutMs: 20 }).next();
    simulated.clock.pass(20);
    const message = 'The service "a.b" was not asked within 20 ms: the bus is not connected';
    expect(await result).toMatchObject({ code: "TIMEOUT_CALL", message });
    await expect(next).rejects.toMatchObject({ code: "TIMEOUT_CALL", message });
    await simulated.comeBack();
    expect(await simulated.sent()).toEqual([]);
  });

  test("ends with the bus, and its files are closed", async () => {
    using files = new TestFiles(["x"]);
    await simulated.lose();
    const before = openFds();
    const result = call("x", { fds: files.fds });
    expect(openFds()).toBe(before + 1);
    await simulated.bus.close();
    expect(await result).toMatchObject({ code: "CLOSED_BY_USER" });
    expect(openFds()).toBe(before);
    expect(simulated.clock.running).toBe(0);
  });

  test("is LIMIT_OUTBOUND where too much waits already", async () => {
    using memory = largest();
    await simulated.lose();
    const results = [1, 2, 3].map(() =>
      simulated.bus.call("a.b", memory).catch((error: unknown) => error),
    );
    expect(await results[2]).toMatchObject({ code: "LIMIT_OUTBOUND" });
    await simulated.bus.close();
    expect(await results[0]).toMatchObject({ code: "CLOSED_BY_USER" });
  });
});

describe("a call that is older than the connection", () => {
  /** Made in the gap, sent, and answered by "nobody serves it". */
  async function unserved(options?: CallOptions): Promise<Promise<unknown>[]> {
    await simulated.lose();
    const results = [call("1", options), call("2", options)];
    await simulated.comeBack();
    await openService(NEW);
    for (const [id] of await requests()) simulated.control(OPCODE.ERROR, id, NOBODY);
    return results;
  }

  async function answerWatch(): Promise<void> {
    const { id } = await simulated.sentOne(OPCODE.WATCH);
    const state = { generation: 1, owners: [], count: 0 };
    simulated.control(OPCODE.ACK, id, { service: NEW, ...state });
  }

  test("waits for its service to be back, too", async () => {
    const results = await unserved();
    await answerWatch();
    simulated.control(OPCODE.SERVICE, NEW, { generation: 2, owners: [PEER], count: 1 });
    const frames = await simulated.sent();
    const again = frames.filter(({ opcode }) => opcode === OPCODE.REQUEST);
    expect(again.map(({ body }) => splitPrefix(body)[2])).toEqual(["1", "2"]);
    expect(frames.map(({ opcode }) => opcode)).toContain(OPCODE.UNWATCH);
    for (const { body } of again) simulated.reply(splitPrefix(body)[0], "answer");
    expect(await Promise.all(results)).toEqual(["answer", "answer"]);
  });

  test("is REJECTED_NO_SERVICE where that does not come back in time", async () => {
    const results = await unserved({ timeoutMs: 100 });
    await answerWatch();
    simulated.clock.pass(100);
    for (const result of results) {
      expect(await result).toMatchObject({ code: "REJECTED_NO_SERVICE" });
    }
    expect(await simulated.sentOne(OPCODE.UNWATCH)).toBeDefined();
  });

  test("is REJECTED_NO_SERVICE where it may not be watched", async () => {
    const results = await unserved();
    const { id } = await simulated.sentOne(OPCODE.WATCH);
    simulated.control(OPCODE.ERROR, id, { status: STATUS.LIMIT_SERVICES, message: "full" });
    for (const result of results) {
      expect(await result).toMatchObject({ code: "REJECTED_NO_SERVICE" });
    }
  });

  test("waits over another lost connection", async () => {
    const results = await unserved();
    await answerWatch();
    await simulated.lose();
    await simulated.comeBack(1_000);
    await openService(NEW);
    const again = await requests();
    expect(again.map(([, , text]) => text)).toEqual(["1", "2"]);
    for (const [id] of again) simulated.reply(id, "answer");
    expect(await Promise.all(results)).toEqual(["answer", "answer"]);
  });

  test("does not hold up those that are younger, which fail at once", async () => {
    const old = await unserved();
    await answerWatch();
    const young = call("young");
    const [[id] = [0]] = await requests();
    simulated.control(OPCODE.ERROR, id, NOBODY);
    expect(await young).toMatchObject({ code: "REJECTED_NO_SERVICE" });
    await simulated.bus.close();
    for (const result of old) expect(await result).toMatchObject({ code: "CLOSED_BY_USER" });
  });
});

function largest(): Memory {
  return Memory.from(new Uint8Array(LARGE_BODY_BYTES_MAX)).seal();
}

/** Fds of this process, of which a test has few. */
function openFds(): number {
  return Array.from({ length: 256 }, (_, fd) => fd).filter(isOpenFd).length;
}
