import { beforeEach, describe, expect, test } from "bun:test";
import { reply, type ServeOptions, type Service } from "../../../src/client/index.ts";
import type { ServiceHandler } from "../../../src/client/request-run.ts";
import { STREAM_CREDIT_START } from "../../../src/protocol/limits.ts";
import { ENCODING, FLAG_MORE, FLAG_STREAM, OPCODE } from "../../../src/protocol/opcodes.ts";
import { failureOf, SERVICE, serveOn, text } from "./serving-fixture.ts";
import { SimulatedBus } from "./simulated-bus.ts";
import type { SentFrame } from "./simulated-transport.ts";

let simulated: SimulatedBus;

beforeEach(async () => {
  simulated = await SimulatedBus.open();
});

function serve(handler: ServiceHandler, options?: ServeOptions): Promise<Service> {
  return serveOn(simulated, handler, options);
}

describe("a handler that is a generator", () => {
  const stream = (call: number) => simulated.request(SERVICE, call, "", { flags: FLAG_STREAM });

  test("answers in parts, and what it returns is the last", async () => {
    await serve(async function* () {
      yield "one";
      yield reply({ two: 2 }, { encoding: "json" });
      return "end";
    });
    stream(1);
    const frames = await simulated.sent();
    expect(frames.map((frame) => [frame.flags, text(frame)])).toEqual([
      [ENCODING.TEXT | FLAG_MORE, "one"],
      [ENCODING.JSON | FLAG_MORE, '{"two":2}'],
      [ENCODING.TEXT, "end"],
    ]);
  });

  test("may be one that is not async", async () => {
    await serve(function* () {
      yield "one";
      return "end";
    });
    stream(1);
    const frames = await simulated.sent();
    expect(frames.map((frame) => [frame.flags, text(frame)])).toEqual([
      [ENCODING.TEXT | FLAG_MORE, "one"],
      [ENCODING.TEXT, "end"],
    ]);
  });

  test("ends with an empty reply where it returns nothing", async () => {
    await serve(async function* () {
      yield "one";
    });
    stream(1);
    const frames = await simulated.sent();
    expect(frames.map(({ flags, body }) => [flags, body.byteLength])).toEqual([
      [ENCODING.TEXT | FLAG_MORE, 3],
      [ENCODING.BYTES, 0],
    ]);
  });

  test("stands still while it has no credit", async () => {
    let made = 0;
    await serve(async function* () {
      for (;;) {
        made += 1;
        yield `${made}`;
      }
    });
    stream(1);
    expect(await simulated.sent()).toHaveLength(STREAM_CREDIT_START);
    expect(made).toBe(STREAM_CREDIT_START);
    simulated.control(OPCODE.CREDIT, 1, { count: 3 });
    expect(await simulated.sent()).toHaveLength(3);
    expect(made).toBe(STREAM_CREDIT_START + 3);
  });

  test.each(["without credit", "in the middle"])("is stopped when cancelled %s", async (when) => {
    let isStopped = false;
    const step = Promise.withResolvers<void>();
    await serve(async function* ({ signal }) {
      try {
        for (;;) {
          yield "part";
          if (when === "in the middle") {
            signal.addEventListener("abort", () => step.resolve());
            await step.promise;
          }
        }
      } finally {
        isStopped = true;
      }
    });
    stream(1);
    await simulated.sent();
    simulated.control(OPCODE.CANCEL, 1);
    expect(await simulated.sent()).toEqual([]);
    expect(isStopped).toBe(true);
  });

  test("fails in the middle with its error", async () => {
    await serve(async function* () {
      yield "one";
      throw Object.assign(new Error("half"), { code: "E_HALF" });
    });
    stream(1);
    const [, last] = await simulated.sent();
    expect(failureOf(last as SentFrame)).toEqual({ code: "E_HALF", message: "half" });
  });

  test("is stopped, and the caller told, where a part cannot be sent", async () => {
    let isStopped = false;
    await serve(async function* () {
      try {
        yield /x/;
      } finally {
        isStopped = true;
      }
    });
    stream(1);
    expect(failureOf(await simulated.sentOne(OPCODE.REPLY))).toMatchObject({
      code: "ARGUMENT_DATA",
    });
    expect(isStopped).toBe(true);
  });

  test("refuses a caller that takes one answer", async () => {
    await serve(async function* () {
      yield 1;
    });
    simulated.request(SERVICE, 1, "");
    expect(failureOf(await simulated.sentOne(OPCODE.REPLY))).toMatchObject({ code: "STREAM_ONLY" });
  });
});
