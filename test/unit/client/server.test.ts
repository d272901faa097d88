import { beforeEach, describe, expect, test } from "bun:test";
import { closeSync } from "node:fs";
import {
  reply,
  type ServeOptions,
  type Service,
  type ServiceRequest,
} from "../../../src/client/index.ts";
import {
  FAILURE_MESSAGE_LENGTH_MAX,
  HANDLERS_PER_TURN_MS,
  SERVICE_WAITING_FDS_MAX,
} from "../../../src/client/limits.ts";
import type { ServiceHandler } from "../../../src/client/request-run.ts";
import { ClosedError, RejectedError, TimeoutError } from "../../../src/errors.ts";
import { duplicateFd } from "../../../src/ffi/owned-fd.ts";
import { MESSAGE_FDS_MAX } from "../../../src/protocol/limits.ts";
import {
  ENCODING,
  FLAG_CALLER_GONE,
  FLAG_FAILED,
  FLAG_FDS_ON_LANE,
  FLAG_LARGE,
  FLAG_TIMED_OUT,
  OPCODE,
} from "../../../src/protocol/opcodes.ts";
import { STATUS } from "../../../src/protocol/status-codes.ts";
import { TestFiles } from "../../support/test-files.ts";
import { failureOf, SERVICE, serveOn, text } from "./serving-fixture.ts";
import { mapOf, PEER, SimulatedBus } from "./simulated-bus.ts";
import { isOpenFd } from "./simulated-transport.ts";

let simulated: SimulatedBus;

beforeEach(async () => {
  simulated = await SimulatedBus.open();
});

function serve(handler: ServiceHandler, options?: ServeOptions): Promise<Service> {
  return serveOn(simulated, handler, options);
}

describe("Bus.serve()", () => {
  test("says what it offers", async () => {
    void simulated.bus.serve("a.b", () => 1, { ifOwned: "queue", onChannel: () => {} });
    const exclusive = await simulated.sentOne(OPCODE.SERVE);
    expect(mapOf(exclusive)).toEqual({ service: "a.b", ifOwned: "queue", channels: true });
    void simulated.bus.serve("a.c", () => 1, { shared: true });
    expect(mapOf(await simulated.sentOne(OPCODE.SERVE))).toEqual({ service: "a.c", shared: true });
  });

  test("gives a request to the handler, and its result to the caller", async () => {
    const seen: ServiceRequest[] = [];
    await serve((request) => {
      seen.push(request);
      return `${request.data}!`;
    });
    simulated.request(SERVICE, 5, "hello", { timeoutMs: 800 });
    const answer = await simulated.sentOne(OPCODE.REPLY);
    expect([answer.id, answer.flags, text(answer)]).toEqual([5, ENCODING.TEXT, "hello!"]);
    expect(seen[0]).toMatchObject({ topic: "a.b", timeoutMs: 800, isStream: false });
    expect(seen[0]?.sender).toMatchObject({ connection: PEER, uid: 7 });
  });

  test("takes a request in the packet of the ACK", async () => {
    const service = simulated.bus.serve("a.b", () => "at once");
    const { id } = await simulated.sentOne(OPCODE.SERVE);
    const body = new Uint8Array(8);
    body[0] = 5;
    simulated.receive((writer) => {
      const ack = { service: SERVICE, generation: 1, isOwner: true };
      writer.appendControl(OPCODE.ACK, 0, id, ack);
      writer.append(OPCODE.REQUEST, 0, 0, SERVICE, PEER, body);
    });
    expect(text(await simulated.sentOne(OPCODE.REPLY))).toBe("at once");
    expect((await service).isOwner).toBe(true);
  });

  test("waits for a promise, and for anything else with then()", async () => {
    // biome-ignore lint/suspicious/noThenProperty: query builders are such objects
    const thenable = { then: (resolve: (value: string) => void) => resolve("then") };
    await serve(({ data }) => (data === "1" ? Promise.resolve("promise") : thenable));
    simulated.request(SERVICE, 1, "1");
    simulated.request(SERVICE, 2, "2");
    const answers = await simulated.sent();
    expect(answers.map(text).sort()).toEqual(["promise", "then"]);
  });

  test("sends a large answer as memory, and files of reply() that were closed since", async () => {
    using files = new TestFiles(["x"]);
    await serve(({ data }) => {
      if (data === "large") return new Uint8Array(65_521);
      const [own = -1] = files.fds.map(duplicateFd);
      const answer = reply({ ok: true }, { fds: [own], encoding: "json" });
      closeSync(own);
      return answer;
    });
    simulated.request(SERVICE, 1, "large");
    const large = await simulated.sentOne(OPCODE.REPLY);
    expect([large.flags, large.fdCount]).toEqual([FLAG_LARGE, 1]);
    simulated.request(SERVICE, 2, "file");
    const small = await simulated.sentOne(OPCODE.REPLY);
    expect([small.flags, small.fdCount, text(small)]).toEqual([ENCODING.JSON, 1, '{"ok":true}']);
    expect(simulated.transport.packets.flatMap(({ fds }) => fds).some(isOpenFd)).toBe(false);
  });

  test.each([
    [Object.assign(new Error("disk"), { code: "E_FULL" }), { code: "E_FULL", message: "disk" }],
    [new Error("why"), { code: "FAILED", message: "why" }],
    [Object.assign(new Error("x"), { code: "not one" }), { code: "FAILED", message: "x" }],
    [Object.assign(new Error("x"), { code: 7 }), { code: "FAILED", message: "x" }],
    [
      { code: "E_PLAIN", message: "an object" },
      { code: "E_PLAIN", message: "an object" },
    ],
    ["a string", { code: "FAILED", message: "a string" }],
    [undefined, { code: "FAILED", message: "undefined" }],
  ])("tells the caller of %p, and never a stack", async (thrown, failure) => {
    const events = simulated.bus.status();
    await serve(({ data }) => {
      if (data === "sync") throw thrown;
      return Promise.reject(thrown);
    });
    simulated.request(SERVICE, 1, "sync");
    expect(failureOf(await simulated.sentOne(OPCODE.REPLY))).toEqual(failure);
    simulated.request(SERVICE, 2, "async");
    expect(failureOf(await simulated.sentOne(OPCODE.REPLY))).toEqual(failure);
    const { value } = await events.next();
    expect(value).toEqual({ type: "request-failed", topic: "a.b", error: thrown });
  });

  test("bounds the text of an error", async () => {
    await serve(() => {
      throw new Error("x".repeat(100_000));
    });
    simulated.request(SERVICE, 1, "");
    const { message } = failureOf(await simulated.sentOne(OPCODE.REPLY)) as { message: string };
    expect(message).toHaveLength(FAILURE_MESSAGE_LENGTH_MAX);
  });

  test.each([/x/, () => 1, Symbol("x")])(
    "tells the caller that %p is no answer",
    async (answer) => {
      await serve(() => answer);
      simulated.request(SERVICE, 1, "");
      const failure = failureOf(await simulated.sentOne(OPCODE.REPLY));
      expect(failure).toMatchObject({ code: "ARGUMENT_DATA" });
    },
  );

  test("tells the caller where the kernel refuses the answer's files, at once or later", async () => {
    using files = new TestFiles(["x"]);
    await serve(() => reply("x", { fds: files.fds }));
    simulated.transport.refusesFds = true;
    simulated.request(SERVICE, 1, "");
    expect(failureOf(await simulated.sentOne(OPCODE.REPLY))).toMatchObject({
      code: "LIMIT_QUEUED_FDS",
    });
    simulated.transport.refusesFds = false;
    simulated.transport.room = 0;
    simulated.request(SERVICE, 2, "");
    await Bun.sleep(0);
    simulated.transport.refusesFds = true;
    simulated.transport.room = 10;
    simulated.becomeWritable();
    const late = await simulated.sentOne(OPCODE.REPLY);
    expect(late.id).toBe(2);
    expect(failureOf(late)).toMatchObject({ code: "LIMIT_QUEUED_FDS" });
  });

  test("closes files of a request that the handler did not take", async () => {
    using files = new TestFiles(["x"]);
    const fds = files.fds.map(duplicateFd);
    const { promise, resolve } = Promise.withResolvers<void>();
    await serve(async () => await promise);
    simulated.transport.lane.push(fds);
    simulated.request(SERVICE, 1, "", { flags: FLAG_FDS_ON_LANE, fdCount: 1 });
    expect(fds.every(isOpenFd)).toBe(true);
    resolve();
    await simulated.sentOne(OPCODE.REPLY);
    expect(fds.some(isOpenFd)).toBe(false);
  });

  test("answers a request whose large body was lost", async () => {
    let calls = 0;
    await serve(() => {
      calls += 1;
    });
    simulated.request(SERVICE, 1, "12345678", { flags: FLAG_LARGE | FLAG_FDS_ON_LANE, fdCount: 1 });
    const failure = failureOf(await simulated.sentOne(OPCODE.REPLY));
    expect(failure).toMatchObject({ code: "LIMIT_QUEUED_FDS" });
    expect(calls).toBe(0);
  });

  test("works on so many requests at a time, and drops those cancelled while they wait", async () => {
    const started: unknown[] = [];
    const releases: (() => void)[] = [];
    const service = await serve(
      ({ data }) => {
        started.push(data);
        return new Promise<void>((resolve) => releases.push(resolve));
      },
      { concurrency: 2 },
    );
    for (const call of [1, 2, 3, 4]) simulated.request(SERVICE, call, `${call}`);
    expect([service.running, service.waiting, started]).toEqual([2, 2, ["1", "2"]]);
    simulated.control(OPCODE.CANCEL, 3);
    expect(service.waiting).toBe(1);
    releases[0]?.();
    expect((await simulated.sentOne(OPCODE.REPLY)).id).toBe(1);
    expect(started).toEqual(["1", "2", "4"]);
  });

  test("reads on after handlers that compute, and lets users take turns then", async () => {
    const started: unknown[] = [];
    const done = Promise.withResolvers<void>();
    const service = await serve(({ data }) => {
      started.push(data);
      simulated.clock.pass(HANDLERS_PER_TURN_MS);
      if (started.length === 5) done.resolve();
    });
    simulated.control(OPCODE.SENDER, PEER + 1, { uid: 12, gid: 8, pid: 9, groups: [] });
    for (const call of [1, 2, 3]) simulated.request(SERVICE, call, `${call}`);
    for (const call of [4, 5]) simulated.request(SERVICE, call, `${call}`, { origin: PEER + 1 });
    expect([service.running, service.waiting, started]).toEqual([0, 4, ["1"]]);
    await done.promise;
    expect(started).toEqual(["1", "2", "4", "3", "5"]);
    expect(service.waiting).toBe(0);
  });

  test("starts nothing that waits when its connection is lost", async () => {
    const started: unknown[] = [];
    await serve(({ data }) => {
      started.push(data);
      simulated.clock.pass(HANDLERS_PER_TURN_MS);
    });
    for (const call of [1, 2, 3]) simulated.request(SERVICE, call, `${call}`);
    simulated.clock.pass(1_000);
    await simulated.lose();
    expect(started).toEqual(["1"]);
  });

  test("lets other services have their turn beside one whose handler computes", async () => {
    const started: unknown[] = [];
    const done = Promise.withResolvers<void>();
    const handler = ({ data }: ServiceRequest) => {
      started.push(data);
      simulated.clock.pass(HANDLERS_PER_TURN_MS);
      if (started.length === 4) done.resolve();
    };
    await serve(handler);
    const other = simulated.bus.serve("a.c", handler);
    const { id } = await simulated.sentOne(OPCODE.SERVE);
    simulated.control(OPCODE.ACK, id, { service: SERVICE + 1, generation: 2, isOwner: true });
    await other;
    for (const call of [1, 2, 3]) simulated.request(SERVICE, call, `${call}`);
    simulated.request(SERVICE + 1, 4, "other");
    await done.promise;
    expect(started).toEqual(["1", "2", "other", "3"]);
  });

  test("starts thousands of waiting requests without running out of stack", async () => {
    let release = () => {};
    let done = 0;
    await serve(
      ({ data }) => {
        done += 1;
        if (data !== "first") return "quick";
        return new Promise<void>((resolve) => {
          release = resolve;
        });
      },
      { concurrency: 1 },
    );
    simulated.request(SERVICE, 1, "first");
    for (let call = 2; call < 20_000; call += 1) simulated.request(SERVICE, call, "");
    release();
    await Bun.sleep(0);
    expect(done).toBe(19_999);
  });

  test("refuses what would wait beyond the files that one user may have there, and goes on", async () => {
    await serve(() => new Promise(() => {}), { concurrency: 1 });
    simulated.request(SERVICE, 1, "runs");
    using files = new TestFiles(["x"]);
    const [fd = -1] = files.fds;
    const count = SERVICE_WAITING_FDS_MAX / 2 / MESSAGE_FDS_MAX;
    for (let call = 2; call < count + 3; call += 1) {
      simulated.transport.lane.push(Array.from({ length: MESSAGE_FDS_MAX }, () => duplicateFd(fd)));
      simulated.request(SERVICE, call, "", { flags: FLAG_FDS_ON_LANE, fdCount: MESSAGE_FDS_MAX });
    }
    const refused = await simulated.sentOne(OPCODE.REPLY);
    expect([refused.id, refused.flags & FLAG_FAILED]).toEqual([count + 2, FLAG_FAILED]);
    await simulated.lose();
  });

  test.each([
    ["a..b", {}, "ARGUMENT_TOPIC"],
    ["a", { concurrency: 0 }, "ARGUMENT_OPTION"],
    ["a", { concurrency: Number.NaN }, "ARGUMENT_OPTION"],
    ["a", { shared: true, ifOwned: "replace" }, "ARGUMENT_OPTION"],
  ] as const)("refuses %j with %j", async (name, options, code) => {
    await expect(simulated.bus.serve(name, () => 1, options)).rejects.toMatchObject({ code });
    expect(await simulated.sent()).toEqual([]);
  });

  test.each<[string, unknown, ServeOptions]>([
    ["handler", undefined, {}],
    ["ifOwned", () => 1, { ifOwned: "steal" as never }],
    ["concurrency", () => 1, { concurrency: 0 }],
  ])("refuses a wrong %s", async (argument, handler, options) => {
    const serving = simulated.bus.serve("a.b", handler as never, options);
    const error = await serving.catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "ARGUMENT_OPTION", argument });
  });

  test("serves a name once on one bus", async () => {
    await serve(() => 1);
    const again = simulated.bus.serve("a.b", () => 2);
    await expect(again).rejects.toMatchObject({ code: "REJECTED_SERVICE_OWNED" });
  });

  test("closes the bus where a request comes for what it does not serve", async () => {
    simulated.request(SERVICE, 1, "");
    expect(await simulated.bus.closed()).toMatchObject({ code: "PROTOCOL_TOPIC_ID" });
  });
});

describe("a request's signal", () => {
  const cancelled = async (flags: number, early: boolean) => {
    const seen: ServiceRequest[] = [];
    await serve(async (request) => {
      seen.push(request);
      if (early) void request.signal;
      await Bun.sleep(0);
      return "too late";
    });
    simulated.request(SERVICE, 1, "");
    simulated.control(OPCODE.CANCEL, 1, undefined, flags);
    expect(await simulated.sent()).toEqual([]);
    const signal = seen[0]?.signal;
    expect(signal?.aborted).toBe(true);
    return signal?.reason;
  };

  test.each([true, false])(
    "is aborted where the caller gives up (asked before: %p)",
    async (early) => {
      const reason = await cancelled(0, early);
      expect(reason).toBeInstanceOf(ClosedError);
      expect(reason).toMatchObject({ code: "CLOSED_BY_CALLER" });
    },
  );

  test("is aborted where the caller is gone", async () => {
    expect(await cancelled(FLAG_CALLER_GONE, true)).toMatchObject({ code: "CLOSED_BY_CALLER" });
  });

  test("is aborted where the caller's time is up", async () => {
    const reason = await cancelled(FLAG_TIMED_OUT, true);
    expect(reason).toBeInstanceOf(TimeoutError);
    expect(reason).toMatchObject({ code: "TIMEOUT_CALL" });
  });

  test("is aborted at the end of the bus", async () => {
    const { promise, resolve } = Promise.withResolvers<unknown>();
    await serve(({ signal }) => {
      signal.addEventListener("abort", () => resolve(signal.reason));
      return new Promise(() => {});
    });
    simulated.request(SERVICE, 1, "");
    await simulated.lose();
    expect(await promise).toMatchObject({ code: "CLOSED_BY_PEER" });
  });
});

describe("Service", () => {
  test("counts answers that nobody waits for any more, and sends none of them", async () => {
    using files = new TestFiles(["x"]);
    const answers: ((answer: unknown) => void)[] = [];
    const service = await serve(() => new Promise((resolve) => answers.push(resolve)));
    for (const call of [1, 2, 3]) simulated.request(SERVICE, call, "");
    simulated.control(OPCODE.CANCEL, 1, undefined, FLAG_TIMED_OUT);
    simulated.control(OPCODE.CANCEL, 2, undefined, FLAG_CALLER_GONE);
    const prepared = reply("late", { fds: files.fds });
    const { fds } = prepared;
    answers[0]?.("late");
    answers[1]?.(prepared);
    answers[2]?.("in time");
    expect((await simulated.sentOne(OPCODE.REPLY)).id).toBe(3);
    expect(service.lateReplies).toBe(2);
    expect(fds.some(isOpenFd)).toBe(false);
    expect(service.running).toBe(0);
  });

  test("gains and loses its turn", async () => {
    const waiting = simulated.bus.serve("a.b", () => 1, { ifOwned: "queue" });
    const { id } = await simulated.sentOne(OPCODE.SERVE);
    simulated.control(OPCODE.ACK, id, { service: SERVICE, generation: 4, isOwner: false });
    const service = await waiting;
    expect([service.isOwner, service.generation]).toEqual([false, 4]);
    const events = service.status();
    simulated.control(OPCODE.OWNERSHIP, SERVICE, { generation: 5, isOwner: true });
    expect([service.isOwner, service.generation]).toEqual([true, 5]);
    simulated.control(OPCODE.OWNERSHIP, SERVICE, { generation: 6, isOwner: false });
    expect([service.isOwner, service.generation]).toEqual([false, 6]);
    const error = await service.closed();
    expect(error).toBeInstanceOf(RejectedError);
    expect(error).toMatchObject({ code: "REJECTED_SERVICE_OWNED" });
    const types: string[] = [];
    for await (const { type } of events) types.push(type);
    expect(types).toEqual(["owner-gained", "owner-lost", "closed"]);
    await service.close();
    expect(await simulated.sent()).toEqual([]);
  });

  test("close() stops requests, and waits for those that run", async () => {
    const { promise, resolve } = Promise.withResolvers<string>();
    const service = await serve(() => promise);
    simulated.request(SERVICE, 1, "");
    let isClosed = false;
    const closing = service.close().then(() => {
      isClosed = true;
    });
    const unserve = await simulated.sentOne(OPCODE.UNSERVE);
    expect(mapOf(unserve)).toEqual({ service: SERVICE });
    // One that crossed the UNSERVE is served as well.
    simulated.request(SERVICE, 2, "");
    simulated.control(OPCODE.ACK, unserve.id);
    await Bun.sleep(0);
    expect(isClosed).toBe(false);
    resolve("done");
    expect((await simulated.sent()).map(({ id }) => id)).toEqual([1, 2]);
    await closing;
    expect(await service.closed()).toBeUndefined();
  });

  test("follows its signal", async () => {
    const controller = new AbortController();
    const service = await serve(() => 1, { signal: controller.signal });
    controller.abort();
    const { id } = await simulated.sentOne(OPCODE.UNSERVE);
    simulated.control(OPCODE.ERROR, id, { status: STATUS.REJECTED_SERVICE, message: "no" });
    expect(await service.closed()).toBeUndefined();
  });

  test("ends where the policy takes the right away, with the rule", async () => {
    const service = await serve(() => 1);
    const fields = { message: "no", action: "serve", topic: "a.b", rule: "r1" };
    simulated.control(OPCODE.REVOKED, 0, fields);
    expect(await service.closed()).toMatchObject({ code: "REJECTED_BY_POLICY", rule: "r1" });
    expect(service.isOwner).toBe(false);
  });

  test("close() does not wait for handlers once the bus has ended", async () => {
    const service = await serve(() => new Promise(() => {}));
    simulated.request(SERVICE, 1, "");
    await simulated.lose();
    await service.closed();
    expect(service.isOwner).toBe(false);
  });
});
