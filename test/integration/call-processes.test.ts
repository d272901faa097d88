/** Callers and services that are killed or stopped, each in each state of a call. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { libc } from "../../src/ffi/libc.ts";
import { FLAG_CALLER_GONE, OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { eventually } from "../support/eventually.ts";
import {
  appendRequest,
  mapOf,
  packetOf,
  RawClient,
  requestOf,
  textOf,
} from "../support/raw-client.ts";
import type { ServiceProcessOptions } from "../support/service-process.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";

/** shutdown(2). */
const SHUT_RD = 0;
const CALLS = 10;

let broker: SpawnedBroker;
let fdsAlone: number;
let names = 0;

beforeAll(async () => {
  broker = await spawnBroker();
  fdsAlone = await broker.fdsAtRest();
});

afterEach(async () => {
  await broker.expectFds(fdsAlone);
});

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
});

function newName(): string {
  names += 1;
  return `process.${names}`;
}

/** One side in another process. */
class Side implements AsyncDisposable {
  readonly #child: Bun.Subprocess<"pipe", "pipe", "inherit">;
  #said = "";

  constructor(options: Omit<ServiceProcessOptions, "path">) {
    const script = `${import.meta.dir}/../support/service-process.ts`;
    const argument = JSON.stringify({ ...options, path: broker.path });
    this.#child = Bun.spawn([process.execPath, script, argument], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const read = async () => {
      const decoder = new TextDecoder();
      for await (const chunk of this.#child.stdout) this.#said += decoder.decode(chunk);
    };
    void read();
  }

  async says(word: string, times = 1): Promise<void> {
    await eventually(() => this.#said.split(word).length > times, `the process said ${word}`);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGKILL");
    await this.#child.exited;
  }
}

describe("a service that is killed", () => {
  test("before it read a request, or after, ends the call at once", async () => {
    const service = newName();
    for (const state of ["stopped", "working"]) {
      await using responder = new Side({ service, role: "keep" });
      await responder.says("ready");
      using caller = await RawClient.open(broker.path);
      const id = await caller.openService(service);
      if (state === "stopped") responder.kill("SIGSTOP");
      caller.sendRequest(id, 1, "?");
      if (state === "working") await responder.says("requested");
      else await caller.sync();
      responder.kill("SIGKILL");
      const error = await caller.nextOf(OPCODE.ERROR);
      expect(error.id).toBe(1);
      expect(mapOf(error)["status"]).toBe(STATUS.CLOSED_BY_SERVICE);
    }
  });

  test("while others wait in line hands the service to the next", async () => {
    const service = newName();
    await using first = new Side({ service, role: "keep" });
    await first.says("ready");
    await using second = new Side({ service, role: "answer", serve: { ifOwned: "queue" } });
    await second.says("ready");
    using caller = await RawClient.open(broker.path);
    const id = await caller.openService(service);
    caller.sendRequest(id, 1, "first");
    await first.says("requested");
    first.kill("SIGKILL");
    expect(mapOf(await caller.nextOf(OPCODE.ERROR))["status"]).toBe(STATUS.CLOSED_BY_SERVICE);
    caller.sendRequest(id, 2, "second");
    expect(textOf(await caller.nextOf(OPCODE.REPLY))).toBe("second");
  });

  test("among others that share it takes only its own calls with it", async () => {
    const service = newName();
    await using doomed = new Side({ service, role: "keep", serve: { shared: true } });
    await doomed.says("ready");
    await using other = new Side({ service, role: "answer", serve: { shared: true } });
    await other.says("ready");
    using caller = await RawClient.open(broker.path);
    const id = await caller.openService(service);
    caller.send(
      packetOf((writer) => {
        for (let call = 1; call <= 10; call += 1) {
          appendRequest(writer, { serviceId: id, call, body: "" });
        }
      }),
    );
    const answered = new Set<number>();
    while (answered.size < 5) answered.add((await caller.nextOf(OPCODE.REPLY)).id);
    doomed.kill("SIGKILL");
    const failed = new Set<number>();
    while (failed.size < 5) failed.add((await caller.nextOf(OPCODE.ERROR)).id);
    expect(answered.union(failed).size).toBe(10);
  });

  test("reads no more and says so to nobody: each call it swallows fails, and others get the rest", async () => {
    const service = newName();
    using deaf = await RawClient.open(broker.path);
    await deaf.serve(service, { shared: true });
    using other = await RawClient.open(broker.path);
    await other.serve(service, { shared: true });
    using caller = await RawClient.open(broker.path);
    const id = await caller.openService(service);
    expect(libc.shutdown(deaf.socket.number, SHUT_RD)).toBe(0);
    const ended = new Set<number>();
    for (let call = 1; ended.size < CALLS; call += call < CALLS ? 1 : 0) {
      if (call <= CALLS && !ended.has(call)) caller.sendRequest(id, call, "");
      const frames = await eventually(() => {
        for (const frame of other.received()) {
          if (frame.opcode === OPCODE.REQUEST) other.sendReply(requestOf(frame).call, "");
        }
        const answers = caller.received();
        return answers.length > 0 && answers;
      }, `call ${call} ends`);
      for (const { opcode, id: answered } of frames) {
        if (opcode === OPCODE.REPLY || opcode === OPCODE.ERROR) ended.add(answered);
      }
    }
    expect(ended.size).toBe(CALLS);
  });
});

describe("a service that is stopped", () => {
  test("holds up nobody, gets CANCEL when it goes on, and is not asked first again", async () => {
    const service = newName();
    await using stopped = new Side({ service, role: "answer", serve: { shared: true } });
    await stopped.says("ready");
    await using other = new Side({ service, role: "answer", serve: { shared: true } });
    await other.says("ready");
    stopped.kill("SIGSTOP");
    using caller = await RawClient.open(broker.path);
    const id = await caller.openService(service);
    for (let call = 1; call <= 40; call += 1) {
      caller.sendRequest(id, call, String(call));
      if (call > 1) expect(textOf(await caller.nextOf(OPCODE.REPLY))).toBe(String(call));
    }
    caller.sendControl(OPCODE.CANCEL, 1);
    await caller.sync();
    stopped.kill("SIGCONT");
    await stopped.says("requested");
    await caller.sync();
    expect(caller.received()).toEqual([]);
  });
});

describe("a caller that is killed", () => {
  test("while its call is open is told to the service", async () => {
    const service = newName();
    using responder = await RawClient.open(broker.path);
    await responder.serve(service);
    await using caller = new Side({ service, role: "call" });
    const { call } = requestOf(await responder.nextOf(OPCODE.REQUEST));
    caller.kill("SIGKILL");
    expect(await responder.next()).toMatchObject({
      opcode: OPCODE.CANCEL,
      flags: FLAG_CALLER_GONE,
      id: call,
    });
    responder.sendReply(call, "too late");
    await responder.sync();
  });

  test("while it is stopped and the reply waits for it leaves nothing behind", async () => {
    const service = newName();
    using responder = await RawClient.open(broker.path);
    await responder.serve(service);
    await using caller = new Side({ service, role: "call" });
    await caller.says("ready");
    caller.kill("SIGSTOP");
    const { call } = requestOf(await responder.nextOf(OPCODE.REQUEST));
    responder.sendReply(call, "waits");
    await responder.sync();
    caller.kill("SIGKILL");
    await responder.nextOf(OPCODE.SENDER_GONE);
    await responder.sync();
    expect(responder.received()).toEqual([]);
  });
});
