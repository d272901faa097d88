/** Whose requests a service takes first, where more of them come than it may work on at a time. */

import { describe, expect } from "bun:test";
import { connect, type Service } from "../../src/client/index.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { appendRequest, packetOf, type RawClient, textOf } from "../support/raw-client.ts";
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
