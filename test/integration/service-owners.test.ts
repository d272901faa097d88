/** Who serves a service: alone, in line, shared, by force, and what watchers are told of it. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { decodeServiceBody } from "../../src/protocol/service-messages.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { eventually } from "../support/eventually.ts";
import {
  mapOf,
  messagePacket,
  RawClient,
  type RawFrame,
  requestOf,
} from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";

const CLAIMERS = 100;

let broker: SpawnedBroker;

beforeAll(async () => {
  broker = await spawnBroker();
});

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
});

async function open(): Promise<RawClient> {
  return await RawClient.open(broker.path);
}

async function serve(
  client: RawClient,
  service: string,
  options: Record<string, string | boolean> = {},
): Promise<unknown> {
  const frame = await client.requestFrame(OPCODE.SERVE, { service, ...options });
  return frame.opcode === OPCODE.ACK ? mapOf(frame)["isOwner"] : mapOf(frame)["status"];
}

async function ownership(client: RawClient): Promise<unknown> {
  return mapOf(await client.nextOf(OPCODE.OWNERSHIP))["isOwner"];
}

function stateOf(frame: RawFrame): { generation: number; owners: number[]; count: number } {
  return decodeServiceBody(frame.body, 0, frame.body.byteLength);
}

describe("SERVE", () => {
  test("refuses a second owner, unless it waits in line", async () => {
    using first = await open();
    using second = await open();
    using third = await open();
    using fourth = await open();
    expect(await serve(first, "own.line")).toBe(true);
    expect(await serve(second, "own.line")).toBe(STATUS.REJECTED_SERVICE_OWNED);
    expect(await serve(second, "own.line", { shared: true })).toBe(STATUS.REJECTED_SERVICE_OWNED);
    expect(await serve(second, "own.line", { ifOwned: "queue" })).toBe(false);
    expect(await serve(third, "own.line", { ifOwned: "queue" })).toBe(false);
    expect(await serve(fourth, "own.line", { ifOwned: "queue" })).toBe(false);
    expect(await serve(first, "own.line")).toBe(true);
    expect(await serve(second, "own.line")).toBe(false);
    first.socket.close();
    expect(await ownership(second)).toBe(true);
    third.socket.close();
    second.socket.close();
    expect(await ownership(fourth)).toBe(true);
  });

  test("takes a service over, and who had it gets no request any more", async () => {
    using first = await open();
    using second = await open();
    using caller = await open();
    expect(await serve(first, "own.replace")).toBe(true);
    const id = await caller.openService("own.replace");
    caller.sendRequest(id, 1, "old");
    const { call } = requestOf(await first.nextOf(OPCODE.REQUEST));
    expect(await serve(second, "own.replace", { ifOwned: "replace" })).toBe(true);
    expect(await ownership(first)).toBe(false);
    caller.sendRequest(id, 2, "new");
    expect(requestOf(await second.nextOf(OPCODE.REQUEST)).text).toBe("new");
    first.sendReply(call, "still answered");
    expect((await caller.nextOf(OPCODE.REPLY)).id).toBe(1);
    expect((await first.requestFrame(OPCODE.UNSERVE, { service: id })).opcode).toBe(OPCODE.ERROR);
  });

  test("lets many share, and the next owner in when the last of them leaves", async () => {
    using first = await open();
    using second = await open();
    using third = await open();
    using alone = await open();
    expect(await serve(first, "own.shared", { shared: true })).toBe(true);
    expect(await serve(alone, "own.shared", { ifOwned: "queue" })).toBe(false);
    expect(await serve(second, "own.shared", { shared: true })).toBe(true);
    const id = await third.serve("own.shared", { shared: true });
    for (const client of [first, second, third]) {
      await client.request(OPCODE.UNSERVE, { service: id });
    }
    expect(await ownership(alone)).toBe(true);
  });

  test("refuses names that are no topic, or the bus's own", async () => {
    using client = await open();
    for (const opcode of [OPCODE.SERVE, OPCODE.OPEN_SERVICE, OPCODE.WATCH]) {
      for (const service of ["a..b", "$bus.a", "a.*", ""]) {
        const frame = await client.requestFrame(opcode, { service });
        expect(mapOf(frame)["status"]).toBe(STATUS.REJECTED_TOPIC_NAME);
      }
    }
    for (const opcode of [OPCODE.UNSERVE, OPCODE.UNWATCH]) {
      const frame = await client.requestFrame(opcode, { service: 77_777 });
      expect(mapOf(frame)["status"]).toBe(STATUS.REJECTED_SERVICE);
    }
  });

  test(`gives ${CLAIMERS} that claim at once one owner at any time, by the generations`, async () => {
    using stack = new DisposableStack();
    const clients: RawClient[] = [];
    while (clients.length < CLAIMERS) clients.push(stack.use(await open()));
    using watcher = await open();
    await watcher.request(OPCODE.WATCH, { service: "own.race" });
    const choices = ["queue", "fail", "replace"] as const;
    const claims = clients.map((client, index) =>
      serve(client, "own.race", { ifOwned: choices[index % 3] ?? "fail" }),
    );
    const answers = await Promise.all(claims);
    expect(answers.filter((answer) => answer === true).length).toBeGreaterThan(0);
    for (const client of clients) client.socket.close();
    const states: ReturnType<typeof stateOf>[] = [];
    await eventually(() => {
      const frames = watcher.received().filter(({ opcode }) => opcode === OPCODE.SERVICE);
      states.push(...frames.map(stateOf));
      return states.at(-1)?.count === 0;
    }, "everybody has left");
    for (const [index, { generation, owners, count }] of states.entries()) {
      expect(generation).toBeGreaterThan(states[index - 1]?.generation ?? 0);
      expect(count).toBeLessThan(2);
      expect(owners).toHaveLength(count);
    }
    const last = states.at(-1)?.generation;
    const told = await eventually(() => {
      const events = broker.findAll("service-owner").filter(({ topic }) => topic === "own.race");
      return events.at(-1)?.generation === last ? events : undefined;
    }, "the broker reported the last change");
    let owner: number | undefined;
    for (const [, changes] of Map.groupBy(told, ({ generation }) => generation)) {
      const lost = changes.filter(({ isOwner }) => !isOwner).map(({ connection }) => connection);
      const gained = changes.filter(({ isOwner }) => isOwner).map(({ connection }) => connection);
      expect(lost).toEqual(owner === undefined ? [] : [owner]);
      expect(gained.length).toBeLessThan(2);
      owner = gained[0];
    }
    expect(owner).toBeUndefined();
    expect(told.length).toBeGreaterThan(CLAIMERS / 3);
  });
});

describe("WATCH", () => {
  test("answers with who serves, and tells every change after that", async () => {
    using watcher = await open();
    using first = await open();
    using second = await open();
    const id = await first.serve("watch.one", { shared: true });
    const snapshot = await watcher.request(OPCODE.WATCH, { service: "watch.one" });
    expect(snapshot).toMatchObject({ service: id, owners: [first.connection], count: 1 });
    expect(await watcher.next()).toMatchObject({ opcode: OPCODE.SENDER, id: first.connection });
    await second.serve("watch.one", { shared: true });
    expect(await watcher.next()).toMatchObject({ opcode: OPCODE.SENDER, id: second.connection });
    const both = await watcher.next();
    expect(both).toMatchObject({ opcode: OPCODE.SERVICE, id });
    expect(stateOf(both)).toMatchObject({
      owners: [first.connection, second.connection],
      count: 2,
    });
    first.socket.close();
    expect(await watcher.next()).toMatchObject({
      opcode: OPCODE.SENDER_GONE,
      id: first.connection,
    });
    const one = stateOf(await watcher.next());
    expect(one).toMatchObject({ owners: [second.connection], count: 1 });
    expect(one.generation).toBeGreaterThan(stateOf(both).generation);
    await watcher.request(OPCODE.UNWATCH, { service: id });
    await second.request(OPCODE.UNSERVE, { service: id });
    await watcher.sync();
    expect(watcher.received()).toEqual([]);
  });

  test("tells the newest state to a client that has not read for long", async () => {
    using watcher = await open();
    using owner = await open();
    using publisher = await open();
    const { service: id } = await watcher.request(OPCODE.WATCH, { service: "watch.slow" });
    await watcher.subscribe("watch.flood");
    const topic = await publisher.openTopic("watch.flood");
    const body = new Uint8Array(60_000);
    for (let count = 0; count < 200; count += 1) {
      await publisher.sendEventually(messagePacket(topic, body));
    }
    expect((await publisher.sync())["dropped"]).toBeGreaterThan(0);
    for (let count = 0; count < 3_000; count += 1) {
      await owner.serve("watch.slow");
      await owner.request(OPCODE.UNSERVE, { service: Number(id) });
    }
    await owner.serve("watch.slow");
    let last: ReturnType<typeof stateOf> | undefined;
    await eventually(() => {
      const frames = watcher.received().filter(({ opcode }) => opcode === OPCODE.SERVICE);
      const newest = frames.at(-1);
      if (newest !== undefined) last = stateOf(newest);
      return last?.count === 1;
    }, "the watcher was told that somebody serves");
    expect(last?.owners).toEqual([owner.connection]);
  });
});
