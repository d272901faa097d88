/** Private channels through a real broker, which is out of them once they are open. */

import { describe, expect, test } from "bun:test";
import type { Channel } from "../../src/client/channel.ts";
import { connect } from "../../src/client/connect.ts";
import { Memory } from "../../src/client/memory.ts";
import { rejectionOf } from "../support/mortal-broker.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";

/** A channel between two buses of this process. */
async function openChannel(broker: SpawnedBroker): Promise<[Channel, Channel]> {
  const [asker, server] = await Promise.all([
    connect({ path: broker.path }),
    connect({ path: broker.path }),
  ]);
  const { promise, resolve } = Promise.withResolvers<Channel>();
  await server.serve("a.b", () => 1, { onChannel: resolve });
  const channel = await asker.openChannel("a.b");
  const other = await promise;
  expect([channel.peer.connection, other.peer.connection]).toEqual([
    server.self.connection,
    asker.self.connection,
  ]);
  await Promise.all([asker.close(), server.close()]);
  return [channel, other];
}

describe("Bus.openChannel()", () => {
  test("connects two programs, files included, and outlives their buses and the broker", async () => {
    await using broker = await spawnBroker();
    const [left, right] = await openChannel(broker);
    await broker.stop();
    left.send("hello");
    using memory = Memory.from("in a file").seal();
    right.send(new Uint8Array(200_000), { fds: [memory] });
    expect((await right.next()).value?.data).toBe("hello");
    const { value: large } = await left.next();
    expect(large?.byteLength).toBe(200_000);
    expect(await large?.fds.at(0)?.text()).toBe("in a file");
    await left.close();
    expect(await right.closed()).toBeUndefined();
  });

  test("leaves no fd in the broker", async () => {
    await using broker = await spawnBroker();
    const before = await broker.fdsAtRest();
    const [left, right] = await openChannel(broker);
    await broker.expectFds(before);
    await Promise.all([left.close(), right.close()]);
  });

  test("is refused where nobody serves, or takes no channels", async () => {
    await using broker = await spawnBroker();
    await using bus = await connect({ path: broker.path });
    const nobody = bus.openChannel("a.b");
    expect(await rejectionOf(nobody)).toMatchObject({ code: "REJECTED_NO_SERVICE" });
    await bus.serve("a.b", () => 1);
    const none = bus.openChannel("a.b");
    expect(await rejectionOf(none)).toMatchObject({ code: "REJECTED_NO_CHANNEL" });
  });

  test("is refused by the policy, with the rule", async () => {
    const policy = `
      [[rule]]
      allow = ["serve", "call"]
      topics = ["a.b"]
      any = true
      [[rule]]
      id = "none"
      deny = ["channel"]
      topics = ["a.>"]
      any = true
    `;
    await using broker = await spawnBroker({ policy });
    await using bus = await connect({ path: broker.path });
    await bus.serve("a.b", () => 1, { onChannel: () => {} });
    const denied = { code: "REJECTED_BY_POLICY", rule: "none" };
    expect(await rejectionOf(bus.openChannel("a.b"))).toMatchObject(denied);
  });

  test("can be given up", async () => {
    await using broker = await spawnBroker();
    await using bus = await connect({ path: broker.path });
    const signal = AbortSignal.abort(new Error("enough"));
    expect(await rejectionOf(bus.openChannel("a.b", { signal }))).toMatchObject({
      message: "enough",
    });
  });

  test("works between a bus and itself", async () => {
    await using broker = await spawnBroker();
    await using bus = await connect({ path: broker.path });
    await bus.serve("echo", () => 1, {
      async onChannel(channel) {
        for await (const { data } of channel) channel.send(data);
      },
    });
    await using channel = await bus.openChannel<string>("echo");
    channel.send("twice");
    expect((await channel.next()).value?.data).toBe("twice");
  });
});
