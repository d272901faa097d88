import { beforeEach, describe, expect, test } from "bun:test";
import { STREAM_CREDIT_STEP, TIMEOUT_MS_MAX } from "../../../src/client/limits.ts";
import {
  ClosedError,
  LimitError,
  RejectedError,
  ServiceError,
  TimeoutError,
} from "../../../src/errors.ts";
import { duplicateFd } from "../../../src/ffi/owned-fd.ts";
import {
  ENCODING,
  FLAG_FAILED,
  FLAG_FDS_ON_LANE,
  FLAG_LARGE,
  FLAG_MORE,
  FLAG_STREAM,
  FLAG_TIMED_OUT,
  OPCODE,
} from "../../../src/protocol/opcodes.ts";
import { STATUS } from "../../../src/protocol/status-codes.ts";
import { TestFiles } from "../../support/test-files.ts";
import { mapOf, PEER, SimulatedBus, splitPrefix } from "./simulated-bus.ts";
import { isOpenFd } from "./simulated-transport.ts";

const SERVICE = 33;

let simulated: SimulatedBus;

beforeEach(async () => {
  simulated = await SimulatedBus.open();
});

/** What a promise was rejected with. */
async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    (value) => {
      throw new Error(`Not rejected, but: ${value}`);
    },
    (error) => error,
  );
}

/** Answers the OPEN_SERVICE that is under way. */
async function openService(): Promise<void> {
  const { id } = await simulated.sentOne(OPCODE.OPEN_SERVICE);
  simulated.control(OPCODE.ACK, id, { service: SERVICE, sendFds: true });
}

/** Calls "a.b", open already, and gives the call's number. */
async function callOpened<Result>(call: () => Result): Promise<{ result: Result; id: number }> {
  const result = call();
  await openService();
  const { body } = await simulated.sentOne(OPCODE.REQUEST);
  return { result, id: splitPrefix(body)[0] };
}

describe("Bus.call()", () => {
  test("opens a service once, and sends what waited for it in order", async () => {
    const answers = ["one", "two"].map((text) => simulated.bus.call("a.b", text));
    const open = await simulated.sentOne(OPCODE.OPEN_SERVICE);
    expect(mapOf(open)).toEqual({ service: "a.b" });
    simulated.control(OPCODE.ACK, open.id, { service: SERVICE, sendFds: true });
    const requests = await simulated.sent();
    const bodies = requests.map(({ body }) => splitPrefix(body));
    expect(requests.map(({ opcode, id }) => [opcode, id])).toEqual([
      [OPCODE.REQUEST, SERVICE],
      [OPCODE.REQUEST, SERVICE],
    ]);
    expect(bodies.map(([, timeoutMs, text]) => [timeoutMs, text])).toEqual([
      [30_000, "one"],
      [30_000, "two"],
    ]);
    for (const [call, , text] of bodies.reverse()) simulated.reply(call, text.toUpperCase());
    const replies = await Promise.all(answers);
    expect(replies.map(({ data }) => data)).toEqual(["ONE", "TWO"]);
    expect(replies[0]).toMatchObject({ topic: "a.b", sender: { connection: PEER, uid: 7 } });
  });

  test("gives calls and requests numbers of one row", async () => {
    const { id } = await callOpened(() => simulated.bus.call("a.b"));
    void simulated.bus.flush().catch(() => {});
    const sync = await simulated.sentOne(OPCODE.SYNC);
    expect(sync.id).toBe(id + 1);
  });

  test("takes an answer in the packet that opens its service", async () => {
    const answer = simulated.bus.call("a.b", "x");
    const { id } = await simulated.sentOne(OPCODE.OPEN_SERVICE);
    simulated.receive((writer) => {
      writer.appendControl(OPCODE.ACK, 0, id, { service: SERVICE, sendFds: true });
      // The call has its number since it was made, behind that of OPEN_SERVICE.
      const error = { status: STATUS.REJECTED_NO_SERVICE, message: "nobody" };
      writer.appendControl(OPCODE.ERROR, 0, id + 1, error);
    });
    expect(await failureOf(answer)).toMatchObject({ code: "REJECTED_NO_SERVICE" });
  });

  test("asks again where opening was refused", async () => {
    const first = simulated.bus.call("a.b");
    const { id } = await simulated.sentOne(OPCODE.OPEN_SERVICE);
    const denial = { status: STATUS.REJECTED_BY_POLICY, message: "no", topic: "a.b", rule: "r1" };
    simulated.control(OPCODE.ERROR, id, denial);
    const error = await failureOf(first);
    expect(error).toBeInstanceOf(RejectedError);
    expect(error).toMatchObject({ code: "REJECTED_BY_POLICY", rule: "r1", topic: "a.b" });
    void simulated.bus.call("a.b").catch(() => {});
    expect(await simulated.sentOne(OPCODE.OPEN_SERVICE)).toBeDefined();
  });

  test.each([
    [STATUS.REJECTED_NO_SERVICE, RejectedError, "REJECTED_NO_SERVICE"],
    [STATUS.CLOSED_BY_SERVICE, ClosedError, "CLOSED_BY_SERVICE"],
    [STATUS.LIMIT_PENDING_CALLS, LimitError, "LIMIT_PENDING_CALLS"],
    [STATUS.LIMIT_REPLY, LimitError, "LIMIT_REPLY"],
    [STATUS.REJECTED_REPLY, RejectedError, "REJECTED_REPLY"],
  ])("rejects by the broker's status %d", async (status, type, code) => {
    const { result, id } = await callOpened(() => simulated.bus.call("a.b"));
    simulated.control(OPCODE.ERROR, id, { status, message: "so" });
    const error = await failureOf(result);
    expect(error).toBeInstanceOf(type);
    expect(error).toMatchObject({ code });
  });

  test("rejects with a ServiceError where the handler failed", async () => {
    const { result, id } = await callOpened(() => simulated.bus.call("a.b"));
    const body = new TextEncoder().encode('{"code":"E_FULL","message":"disk"}');
    simulated.receive((writer) =>
      writer.append(OPCODE.REPLY, ENCODING.JSON | FLAG_FAILED, 0, id, PEER, body),
    );
    const error = await failureOf(result);
    expect(error).toBeInstanceOf(ServiceError);
    expect(error).toMatchObject({ code: "E_FULL", message: "disk", topic: "a.b" });
  });

  test.each([
    ["{", ENCODING.JSON],
    ['{"code":7}', ENCODING.JSON],
    ['{"code":"not a code","message":7}', ENCODING.JSON],
    ["null", ENCODING.JSON],
    ["\u00c1", ENCODING.MSGPACK],
    ["FULL", ENCODING.TEXT],
    ["x".repeat(20_000), ENCODING.JSON],
  ])("makes FAILED of a failure that says %j", async (text, encoding) => {
    const { result, id } = await callOpened(() => simulated.bus.call("a.b"));
    const body = new TextEncoder().encode(text);
    simulated.receive((writer) =>
      writer.append(OPCODE.REPLY, encoding | FLAG_FAILED, 0, id, PEER, body),
    );
    const error = await failureOf(result);
    expect(error).toMatchObject({ code: "FAILED" });
    expect((error as Error).message).toContain("did not say how");
  });

  test("gives up in time, and tells the service", async () => {
    const { result, id } = await callOpened(() =>
      simulated.bus.call("a.b", "x", { timeoutMs: 250 }),
    );
    simulated.clock.pass(249);
    expect(await simulated.sent()).toEqual([]);
    simulated.clock.pass(1);
    const error = await failureOf(result);
    expect(error).toBeInstanceOf(TimeoutError);
    expect(error).toMatchObject({ code: "TIMEOUT_CALL", elapsedMs: 250 });
    const cancel = await simulated.sentOne(OPCODE.CANCEL);
    expect([cancel.id, cancel.flags]).toEqual([id, FLAG_TIMED_OUT]);
  });

  test("gives up where its signal is aborted, and lets a late answer go", async () => {
    using files = new TestFiles(["x"]);
    const controller = new AbortController();
    const { signal } = controller;
    const { result, id } = await callOpened(() => simulated.bus.call("a.b", "x", { signal }));
    controller.abort(new Error("enough"));
    expect(await failureOf(result)).toMatchObject({ message: "enough" });
    const cancel = await simulated.sentOne(OPCODE.CANCEL);
    expect([cancel.id, cancel.flags]).toEqual([id, 0]);
    const late = files.fds.map(duplicateFd);
    simulated.transport.lane.push(late);
    simulated.reply(id, "late", { flags: FLAG_FDS_ON_LANE, fdCount: 1 });
    simulated.control(OPCODE.ERROR, id, { status: STATUS.CLOSED_BY_SERVICE, message: "late" });
    expect(late.some(isOpenFd)).toBe(false);
    expect(simulated.transport.isClosed).toBe(false);
  });

  test("sends nothing of a call that was given up before its service was open", async () => {
    using files = new TestFiles(["x"]);
    const result = simulated.bus.call("a.b", "x", { timeoutMs: 10, fds: files.fds });
    const { id } = await simulated.sentOne(OPCODE.OPEN_SERVICE);
    simulated.clock.pass(10);
    const message = 'The service "a.b" was not asked within 10 ms: the broker did not answer';
    expect(await failureOf(result)).toMatchObject({ code: "TIMEOUT_CALL", message });
    simulated.control(OPCODE.ACK, id, { service: SERVICE, sendFds: true });
    expect(await simulated.sent()).toEqual([]);
  });

  test("carries files, and a body that leaves no room for its prefix as memory", async () => {
    using files = new TestFiles(["x"]);
    void simulated.bus.call("a.b", "x", { fds: files.fds }).catch(() => {});
    await openService();
    const small = await simulated.sentOne(OPCODE.REQUEST);
    expect([small.fdCount, small.flags, splitPrefix(small.body)[2]]).toEqual([
      1,
      ENCODING.TEXT,
      "x",
    ]);
    void simulated.bus.call("a.b", new Uint8Array(65_513)).catch(() => {});
    const large = await simulated.sentOne(OPCODE.REQUEST);
    expect([large.fdCount, large.flags, large.body.byteLength]).toEqual([1, FLAG_LARGE, 16]);
    expect(new DataView(large.body.buffer).getUint32(8, true)).toBe(65_513);
    void simulated.bus.call("a.b", new Uint8Array(65_512)).catch(() => {});
    const full = await simulated.sentOne(OPCODE.REQUEST);
    expect([full.fdCount, full.flags, full.body.byteLength]).toEqual([0, 0, 65_520]);
  });

  test("rejects where the kernel refuses its files after it had waited", async () => {
    using files = new TestFiles(["x"]);
    await callOpened(() => void simulated.bus.call("a.b").catch(() => {}));
    simulated.transport.room = 0;
    const result = simulated.bus.call("a.b", "x", { fds: files.fds });
    simulated.transport.room = 10;
    simulated.transport.refusesFds = true;
    simulated.becomeWritable();
    expect(await failureOf(result)).toMatchObject({ code: "LIMIT_QUEUED_FDS" });
  });

  test("rejects with LIMIT_QUEUED_FDS where there was no room for a large reply", async () => {
    const { result, id } = await callOpened(() => simulated.bus.call("a.b"));
    const body = new Uint8Array(8);
    body[0] = 1;
    simulated.receive((writer) =>
      writer.append(OPCODE.REPLY, FLAG_LARGE | FLAG_FDS_ON_LANE, 1, id, PEER, body),
    );
    expect(await failureOf(result)).toMatchObject({ code: "LIMIT_QUEUED_FDS" });
  });

  test("rejects at the end of the bus, and after it", async () => {
    const { result } = await callOpened(() => failureOf(simulated.bus.call("a.b")));
    const held = failureOf(simulated.bus.call("other"));
    await simulated.lose();
    expect(await result).toMatchObject({ code: "CLOSED_BY_PEER" });
    expect(await held).toMatchObject({ code: "CLOSED_BY_PEER" });
    expect(await failureOf(simulated.bus.call("a.b"))).toMatchObject({ code: "CLOSED_BY_PEER" });
    expect(simulated.clock.running).toBe(0);
  });

  test.each([
    ["a..b", {}, "ARGUMENT_TOPIC"],
    ["a.*", {}, "ARGUMENT_TOPIC"],
    ["a", { timeoutMs: 0 }, "ARGUMENT_OPTION"],
    ["a", { timeoutMs: -1 }, "ARGUMENT_OPTION"],
    ["a", { timeoutMs: Number.NaN }, "ARGUMENT_OPTION"],
    ["a", { timeoutMs: TIMEOUT_MS_MAX + 1 }, "ARGUMENT_OPTION"],
    ["a", { fds: [-1] }, "ARGUMENT_FD"],
  ])("refuses %j with %j before anything is sent", async (name, options, code) => {
    expect(await failureOf(simulated.bus.call(name, "x", options))).toMatchObject({ code });
    expect(await simulated.sent()).toEqual([]);
  });

  test("closes the bus where the broker answers what it may not", async () => {
    const { result, id } = await callOpened(() => simulated.bus.call("a.b"));
    simulated.reply(id, "part", { flags: FLAG_MORE });
    expect(await failureOf(result)).toMatchObject({ code: "PROTOCOL_FLAGS" });
    const other = await SimulatedBus.open();
    other.reply(77, "never asked");
    expect(await other.bus.closed()).toMatchObject({ code: "PROTOCOL_REQUEST_ID" });
  });
});

describe("Bus.callStream()", () => {
  const parts = async (count: number, from = 0) => {
    const { result, id } = await callOpened(() => simulated.bus.callStream("a.b"));
    for (let index = from; index < count; index += 1) {
      simulated.reply(id, `${index}`, { flags: FLAG_MORE });
    }
    return { stream: result, id };
  };

  test("asks for a stream, without a time-out on the wire", async () => {
    simulated.bus.callStream("a.b", "x", { timeoutMs: 50 });
    await openService();
    const { flags, body } = await simulated.sentOne(OPCODE.REQUEST);
    expect(flags).toBe(ENCODING.TEXT | FLAG_STREAM);
    expect(splitPrefix(body)[1]).toBe(0);
  });

  test("gives the parts in order; an empty last reply is none", async () => {
    const { stream, id } = await parts(3);
    simulated.reply(id, "");
    const texts: unknown[] = [];
    for await (const { data } of stream) texts.push(data);
    expect(texts).toEqual(["0", "1", "2"]);
    expect(await simulated.sent()).toEqual([]);
  });

  test("gives a last reply that is not empty as a part", async () => {
    const { stream, id } = await parts(1);
    simulated.reply(id, "end");
    const texts: unknown[] = [];
    for await (const { data } of stream) texts.push(data);
    expect(texts).toEqual(["0", "end"]);
  });

  test("gives credit as the program reads, and not before", async () => {
    const { stream, id } = await parts(64);
    expect(await simulated.sent()).toEqual([]);
    for (let read = 0; read < STREAM_CREDIT_STEP - 1; read += 1) await stream.next();
    expect(await simulated.sent()).toEqual([]);
    await stream.next();
    const credit = await simulated.sentOne(OPCODE.CREDIT);
    expect([credit.id, mapOf(credit)]).toEqual([id, { count: STREAM_CREDIT_STEP }]);
  });

  test("gives the call up where the loop is left, and closes files that nobody took", async () => {
    using files = new TestFiles(["x", "y"]);
    const fds = files.fds.map(duplicateFd);
    const { stream, id } = await parts(0);
    for (const fd of fds) {
      simulated.transport.lane.push([fd]);
      simulated.reply(id, "file", { flags: FLAG_MORE | FLAG_FDS_ON_LANE, fdCount: 1 });
    }
    for await (const part of stream) {
      expect(part.fds.length).toBe(1);
      break;
    }
    const cancel = await simulated.sentOne(OPCODE.CANCEL);
    expect([cancel.id, cancel.flags]).toEqual([id, 0]);
    expect(fds.some(isOpenFd)).toBe(false);
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  test("reads what came before it says what went wrong", async () => {
    const { stream, id } = await parts(2);
    simulated.control(OPCODE.ERROR, id, { status: STATUS.CLOSED_BY_SERVICE, message: "gone" });
    expect((await stream.next()).value?.data).toBe("0");
    expect((await stream.next()).value?.data).toBe("1");
    expect(await failureOf(stream.next())).toMatchObject({ code: "CLOSED_BY_SERVICE" });
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  test("times out only while the program waits for a part", async () => {
    const { stream, id } = await parts(1);
    simulated.clock.pass(100_000);
    await stream.next();
    const next = stream.next();
    simulated.clock.pass(29_999);
    simulated.reply(id, "late", { flags: FLAG_MORE });
    expect((await next).value?.data).toBe("late");
    simulated.clock.pass(100_000);
    const failure = failureOf(stream.next());
    simulated.clock.pass(30_000);
    expect(await failure).toMatchObject({ code: "TIMEOUT_CALL" });
    expect((await simulated.sentOne(OPCODE.CANCEL)).flags).toBe(FLAG_TIMED_OUT);
  });

  test("lets go of what was not read where its signal is aborted", async () => {
    const controller = new AbortController();
    const { result, id } = await callOpened(() =>
      simulated.bus.callStream("a.b", "x", { signal: controller.signal }),
    );
    simulated.reply(id, "0", { flags: FLAG_MORE });
    controller.abort(new Error("enough"));
    expect(await failureOf(result.next())).toMatchObject({ message: "enough" });
    expect((await simulated.sentOne(OPCODE.CANCEL)).id).toBe(id);
  });

  test("fails with the handler's error in its place", async () => {
    const { stream, id } = await parts(1);
    const body = new TextEncoder().encode('{"code":"E_LATE","message":"half"}');
    simulated.receive((writer) =>
      writer.append(OPCODE.REPLY, ENCODING.JSON | FLAG_FAILED, 0, id, PEER, body),
    );
    await stream.next();
    expect(await failureOf(stream.next())).toMatchObject({ code: "E_LATE", message: "half" });
  });
});
