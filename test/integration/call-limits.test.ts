/** Calls where something is full, and rights on services that a new policy takes away. */

import { describe, expect, test } from "bun:test";
import { SEND_QUEUE_BYTES_MAX } from "../../src/broker/sending/limits.ts";
import { FLAG_MORE, FLAG_STREAM, FLAG_TIMED_OUT, OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { CliBroker } from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";
import {
  appendRequest,
  mapOf,
  packetOf,
  RawClient,
  type RawFrame,
  requestOf,
  textOf,
} from "../support/raw-client.ts";
import { spawnBroker } from "../support/spawned-broker.ts";
import { TestFiles, takeTexts } from "../support/test-files.ts";

const OPEN = `
[[rule]]
id = "all"
allow = ["publish", "subscribe", "call", "serve", "send-fds"]
topics = [">"]
any = true
`;

const BODY_BYTES = 60_000;

/** More than a socket and a queue hold. */
const FLOOD = Math.ceil((2 * SEND_QUEUE_BYTES_MAX) / BODY_BYTES);

function statusOf(frame: RawFrame): unknown {
  return mapOf(frame)["status"];
}

function requestPacket(serviceId: number, call: number, body: Uint8Array, flags = 0): Uint8Array {
  return packetOf((writer) => appendRequest(writer, { serviceId, call, body, flags }));
}

describe("calls without an answer", () => {
  test("are limited for each user, and half of that for one connection", async () => {
    await using broker = await spawnBroker({ policy: `${OPEN}\n[limits]\npending-calls = 8\n` });
    using caller = await RawClient.open(broker.path);
    using responder = await RawClient.open(broker.path);
    await responder.serve("limits.one");
    const id = await caller.openService("limits.one");
    for (let call = 1; call <= 5; call += 1) caller.sendRequest(id, call, "?");
    const error = await caller.nextOf(OPCODE.ERROR);
    expect(error.id).toBe(5);
    expect(statusOf(error)).toBe(STATUS.LIMIT_PENDING_CALLS);
    caller.sendControl(OPCODE.CANCEL, 1);
    caller.sendRequest(id, 6, "six");
    await caller.sync();
    expect(caller.received()).toEqual([]);
    using other = await RawClient.open(broker.path);
    const same = await other.openService("limits.one");
    for (let call = 1; call <= 3; call += 1) other.sendRequest(same, call, "?");
    expect((await other.nextOf(OPCODE.ERROR)).id).toBe(3);
  });

  test("count no more once their service is gone", async () => {
    await using broker = await spawnBroker({ policy: `${OPEN}\n[limits]\npending-calls = 8\n` });
    using caller = await RawClient.open(broker.path);
    // As many as the connection may have, again and again.
    for (let round = 0; round < 3; round += 1) {
      const responder = await RawClient.open(broker.path);
      await responder.serve("limits.gone");
      const id = await caller.openService("limits.gone");
      for (let call = 1; call <= 4; call += 1) caller.sendRequest(id, call, "?");
      for (let call = 1; call <= 4; call += 1) await responder.nextOf(OPCODE.REQUEST);
      responder[Symbol.dispose]();
      for (let call = 1; call <= 4; call += 1) {
        expect(statusOf(await caller.nextOf(OPCODE.ERROR))).toBe(STATUS.CLOSED_BY_SERVICE);
      }
    }
  });
});

describe("fds of calls", () => {
  test("are charged to who sends them until they are taken, and refused beyond the quota", async () => {
    const mayReceive = OPEN.replace('"send-fds"', '"send-fds", "receive-fds"');
    await using broker = await spawnBroker({ policy: `${mayReceive}\n[limits]\nfds = 16\n` });
    using caller = await RawClient.open(broker.path);
    using responder = await RawClient.open(broker.path);
    await responder.serve("limits.fds");
    const id = await caller.openService("limits.fds");
    using files = new TestFiles(["a", "b", "c", "d", "e"]);
    const send = (call: number): void => {
      const fields = { serviceId: id, call, body: "", fdCount: files.fds.length };
      caller.send(
        packetOf((writer) => appendRequest(writer, fields)),
        files.fds,
      );
    };
    send(1);
    send(2);
    const error = await caller.nextOf(OPCODE.ERROR);
    expect(error.id).toBe(2);
    expect(statusOf(error)).toBe(STATUS.LIMIT_QUEUED_FDS);
    expect((await caller.sync())["fdsWaiting"]).toBe(5);
    const request = await responder.nextOf(OPCODE.REQUEST);
    expect(takeTexts(request.fds)).toHaveLength(5);
    await eventually(async () => (await caller.sync())["fdsWaiting"] === 0, "they were taken");
    send(3);
    const last = await responder.nextOf(OPCODE.REQUEST);
    expect(takeTexts(last.fds)).toHaveLength(5);
    const { call } = requestOf(last);
    const reply = packetOf((writer) => writer.append(OPCODE.REPLY, 0, 5, call, 0, undefined));
    responder.send(reply, files.fds);
    expect(takeTexts((await caller.nextOf(OPCODE.REPLY)).fds)).toHaveLength(5);
  });
});

describe("a service whose queue is full", () => {
  test("gets no request more, and those that it has can still be cancelled", async () => {
    await using broker = await spawnBroker();
    using caller = await RawClient.open(broker.path);
    using responder = await RawClient.open(broker.path);
    await responder.serve("limits.full");
    const id = await caller.openService("limits.full");
    const body = new Uint8Array(BODY_BYTES);
    for (let call = 1; call <= FLOOD; call += 1) {
      await caller.sendEventually(requestPacket(id, call, body, FLAG_STREAM));
    }
    await caller.sync();
    const refused = caller.received();
    expect(refused.length).toBeGreaterThan(FLOOD / 4);
    const statuses = new Set(refused.map(statusOf));
    expect(statuses).toEqual(new Set([STATUS.LIMIT_PENDING_CALLS]));
    for (const frame of refused) {
      const { limit, actual } = mapOf(frame);
      expect(Number(actual)).toBeGreaterThan(Number(limit));
    }
    const taken = FLOOD - refused.length;
    for (let times = 0; times < 3; times += 1) {
      caller.sendControl(OPCODE.CREDIT, 1, { count: 5 });
      caller.sendControl(OPCODE.CREDIT, 2, { count: 7 });
    }
    const cancel = packetOf((writer) => {
      writer.appendControl(OPCODE.CANCEL, FLAG_TIMED_OUT, 1, undefined);
      for (let call = 3; call <= taken; call += 1) {
        writer.appendControl(OPCODE.CANCEL, 0, call, undefined);
      }
    });
    caller.send(cancel);
    await caller.sync();
    const requests: number[] = [];
    while (requests.length < taken) {
      requests.push(requestOf(await responder.nextOf(OPCODE.REQUEST)).call);
    }
    await responder.sync();
    const words = responder.received();
    expect(words.filter(({ opcode }) => opcode === OPCODE.GAP)).toEqual([]);
    const credited = words.filter(({ opcode }) => opcode === OPCODE.CREDIT);
    const credits = credited.filter((frame) => frame.id === requests[1]);
    expect(credits.reduce((sum, frame) => sum + Number(mapOf(frame)["count"]), 0)).toBe(21);
    const cancelled = words.filter(({ opcode }) => opcode === OPCODE.CANCEL);
    expect(new Set(cancelled.map((frame) => frame.id))).toEqual(
      new Set(requests.filter((request) => request !== requests[1])),
    );
    responder.sendReply(requests[1] ?? 0, "still here");
    expect(textOf(await caller.nextOf(OPCODE.REPLY))).toBe("still here");
  });

  test("is passed over for one that has room", async () => {
    await using broker = await spawnBroker();
    using caller = await RawClient.open(broker.path);
    using full = await RawClient.open(broker.path);
    using free = await RawClient.open(broker.path);
    using publisher = await RawClient.open(broker.path);
    await full.serve("limits.shared", { shared: true });
    await free.serve("limits.shared", { shared: true });
    await full.subscribe("limits.flood");
    const topic = await publisher.openTopic("limits.flood");
    const body = new Uint8Array(BODY_BYTES);
    const flood = packetOf((writer) => writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, body));
    for (let count = 0; count < FLOOD; count += 1) await publisher.sendEventually(flood);
    await publisher.sync();
    const id = await caller.openService("limits.shared");
    for (let call = 1; call <= 3; call += 1) {
      await caller.sendEventually(requestPacket(id, call, body));
      expect(requestOf(await free.nextOf(OPCODE.REQUEST)).text).toHaveLength(BODY_BYTES);
    }
  });
});

describe("a caller whose queue is full", () => {
  test("is told that it lost the reply, and the service that sends parts is told to stop", async () => {
    await using broker = await spawnBroker();
    using caller = await RawClient.open(broker.path);
    using responder = await RawClient.open(broker.path);
    await responder.serve("limits.reply");
    const id = await caller.openService("limits.reply");
    caller.sendRequest(id, 1, "", FLAG_STREAM);
    const stream = requestOf(await responder.nextOf(OPCODE.REQUEST)).call;
    caller.sendControl(OPCODE.CREDIT, 1, { count: 2 * FLOOD });
    const body = new Uint8Array(BODY_BYTES);
    const part = packetOf((writer) => writer.append(OPCODE.REPLY, FLAG_MORE, 0, stream, 0, body));
    await responder.nextOf(OPCODE.CREDIT);
    for (let count = 0; count < FLOOD; count += 1) await responder.sendEventually(part);
    expect(await responder.next()).toMatchObject({ opcode: OPCODE.CANCEL, id: stream });
    const frames: RawFrame[] = [];
    let frame = await caller.next();
    for (; frame.opcode !== OPCODE.ERROR; frame = await caller.next()) frames.push(frame);
    expect(frame.id).toBe(1);
    expect(statusOf(frame)).toBe(STATUS.LIMIT_REPLY);
    await caller.sync();
    expect(caller.received()).toEqual([]);
    expect(frames.length).toBeLessThan(FLOOD);
  });
});

describe("a reload of the policy", () => {
  const deny = (action: string, topic: string): string => `${OPEN}
[[rule]]
id = "not-any-more"
deny = ["${action}"]
topics = ["${topic}"]
any = true
`;

  async function reload(broker: CliBroker, client: RawClient, policy: string): Promise<void> {
    broker.directory.write("policy.toml", policy);
    await client.request(OPCODE.RELOAD_POLICY);
  }

  test("ends serving, which is told, and hands the service on; calls under way go on", async () => {
    await using broker = await CliBroker.start(OPEN);
    using responder = await RawClient.open(broker.socket);
    using caller = await RawClient.open(broker.socket);
    using watcher = await RawClient.open(broker.socket);
    const id = await responder.serve("reload.a");
    await responder.serve("reload.b");
    await watcher.request(OPCODE.WATCH, { service: "reload.a" });
    const called = await caller.openService("reload.a");
    caller.sendRequest(called, 1, "?");
    const { call } = requestOf(await responder.nextOf(OPCODE.REQUEST));
    await reload(broker, watcher, deny("serve", "reload.a"));
    caller.sendRequest(called, 2, "?");
    expect(statusOf(await caller.nextOf(OPCODE.ERROR))).toBe(STATUS.REJECTED_NO_SERVICE);
    const revoked = await responder.nextOf(OPCODE.REVOKED);
    expect(revoked.id).toBe(id);
    expect(mapOf(revoked)).toMatchObject({
      action: "serve",
      topic: "reload.a",
      rule: "not-any-more",
    });
    expect(mapOf(await watcher.nextOf(OPCODE.SERVICE))["count"]).toBe(0);
    responder.sendReply(call, "done");
    expect(textOf(await caller.nextOf(OPCODE.REPLY))).toBe("done");
    const other = await caller.openService("reload.b");
    caller.sendRequest(other, 3, "?");
    expect(requestOf(await responder.nextOf(OPCODE.REQUEST)).text).toBe("?");
    await reload(broker, watcher, OPEN);
    await responder.serve("reload.a");
  });

  test("ends calling and watching, with the rule, until the right comes back", async () => {
    await using broker = await CliBroker.start(OPEN);
    using responder = await RawClient.open(broker.socket);
    using caller = await RawClient.open(broker.socket);
    await responder.serve("reload.a");
    const id = await caller.openService("reload.a");
    await caller.request(OPCODE.WATCH, { service: "reload.a" });
    await reload(broker, responder, deny("call", "reload.>"));
    const revoked = await caller.nextOf(OPCODE.REVOKED);
    expect(revoked.id).toBe(id);
    expect(mapOf(revoked)).toMatchObject({ action: "call", rule: "not-any-more" });
    caller.sendRequest(id, 1, "?");
    const error = await caller.next();
    expect(error).toMatchObject({ opcode: OPCODE.ERROR, id: 1 });
    expect(mapOf(error)).toMatchObject({
      status: STATUS.REJECTED_BY_POLICY,
      topic: "reload.a",
      rule: "not-any-more",
    });
    const unwatched = await caller.requestFrame(OPCODE.UNWATCH, { service: id });
    expect(statusOf(unwatched)).toBe(STATUS.REJECTED_SERVICE);
    const refused = await caller.requestFrame(OPCODE.OPEN_SERVICE, { service: "reload.b" });
    expect(statusOf(refused)).toBe(STATUS.REJECTED_BY_POLICY);
    await reload(broker, responder, OPEN);
    caller.sendRequest(id, 2, "again");
    expect(requestOf(await responder.nextOf(OPCODE.REQUEST)).text).toBe("again");
  });

  test("that grants no `replace` lets nobody take a service over", async () => {
    await using broker = await CliBroker.start(OPEN);
    using owner = await RawClient.open(broker.socket);
    using other = await RawClient.open(broker.socket);
    await owner.serve("reload.c");
    const claim = { service: "reload.c", ifOwned: "replace" };
    const refused = mapOf(await other.requestFrame(OPCODE.SERVE, claim));
    expect(refused["status"]).toBe(STATUS.REJECTED_BY_POLICY);
    await reload(broker, owner, OPEN.replace('"serve"', '"serve", "replace"'));
    expect(mapOf(await other.requestFrame(OPCODE.SERVE, claim))["isOwner"]).toBe(true);
  });
});
