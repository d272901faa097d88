/** Whose requests a service takes first, where more of them come than it may work on at a time. */

import { describe, expect } from "bun:test";
import { connect, type Service } from "../../src/client/index.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { appendRequest, packetOf, RawClient, requestOf, textOf } from "../support/raw-client.ts";
import { openAs } from "../support/raw-user.ts";
import { spawnBroker } from "../support/spawned-broker.ts";

const GREEDY = 12_345;
const MODEST = 12_346;

const NOT_ROOT = "only root can run clients as other users";
const testAsRoot = testUnless.bind(undefined, process.getuid?.() !== 0, NOT_ROOT);

const POLICY = `
[[rule]]
topics = [">"]
any = true
allow = ["call", "serve"]
`;

/** Sends so many requests, and waits until the service has them. */
async function send(client: RawClient, service: Service, count: number): Promise<void> {
  const before = service.running + service.waiting;
  const id = await client.openService(service.topic);
  const requests = packetOf((writer) => {
    for (let call = 1; call <= count; call += 1) {
      appendRequest(writer, { serviceId: id, call, body: "?" });
    }
  });
  await client.sendEventually(requests);
  await eventually(() => service.running + service.waiting === before + count, "they have come");
}

/** Sends requests of all sizes until the broker has refused the smallest ones. */
async function fill(client: RawClient, serviceId: number): Promise<void> {
  let call = 0;
  for (const bytes of [60_000, 5_000, 500, 50, 0]) {
    for (let isRefused = false; !isRefused; ) {
      const packet = packetOf((writer) => {
        for (let room = 60_000; room >= bytes; room -= bytes + 50) {
          call += 1;
          appendRequest(writer, { serviceId, call, body: new Uint8Array(bytes) });
        }
      });
      await client.sendEventually(packet);
      await client.sync();
      isRefused = client.received().some(({ opcode }) => opcode === OPCODE.ERROR);
    }
  }
}

describe("the queue of a service that reads slowly", () => {
  testAsRoot("has room for each user, whatever another one sends", async () => {
    await using broker = await spawnBroker({ policy: POLICY });
    using responder = await RawClient.open(broker.path);
    using greedy = await openAs(GREEDY, broker.path);
    using modest = await openAs(MODEST, broker.path);
    await responder.serve("turns");
    await fill(greedy, await greedy.openService("turns"));
    const id = await modest.openService("turns");
    const body = "y".repeat(60_000);
    for (let call = 1; call <= 4; call += 1) modest.sendRequest(id, call, body);
    await modest.sync();
    expect(modest.received()).toEqual([]);
    let replies = 0;
    while (replies < 4) {
      const { call, text } = requestOf(await responder.nextOf(OPCODE.REQUEST));
      if (!text.startsWith("y")) continue;
      replies += 1;
      responder.sendReply(call, "done");
      expect(textOf(await modest.nextOf(OPCODE.REPLY))).toBe("done");
    }
    // The greedy one gets in again, once what it sent was read.
    await responder.sync();
    greedy.sendRequest(await greedy.openService("turns"), 0xffff_0000, "z");
    const isLast = (text: string): boolean => text === "z";
    for (;;) if (isLast(requestOf(await responder.nextOf(OPCODE.REQUEST)).text)) break;
  });
});

describe("a service with `concurrency`", () => {
  testAsRoot("takes the requests of users in turn, however many one of them has sent", async () => {
    await using broker = await spawnBroker({ policy: POLICY });
    await using bus = await connect({ path: broker.path });
    const gate = Promise.withResolvers<void>();
    const taken: number[] = [];
    const service = await bus.serve(
      "turns",
      async ({ sender }) => {
        taken.push(sender.uid);
        await gate.promise;
        return "done";
      },
      { concurrency: 4 },
    );
    using greedy = await openAs(GREEDY, broker.path);
    using other = await openAs(GREEDY, broker.path);
    using modest = await openAs(MODEST, broker.path);
    await send(greedy, service, 600);
    await send(other, service, 600);
    await send(modest, service, 3);
    expect(taken).toEqual([GREEDY, GREEDY, GREEDY, GREEDY]);
    gate.resolve();
    for (let count = 0; count < 3; count += 1) {
      expect(textOf(await modest.nextOf(OPCODE.REPLY))).toBe("done");
    }
    // The first four had no one to share with.
    const places = taken.slice(4).flatMap((uid, index) => (uid === MODEST ? [index] : []));
    expect(places).toEqual([1, 3, 5]);
    await eventually(() => taken.length === 1_203, "all of them are taken");
  });
});
