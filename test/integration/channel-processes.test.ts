/** Private channels between processes of two users, which are stopped and killed. */

import { afterEach, beforeEach, describe, expect } from "bun:test";
import { testUnless } from "../support/loud-skip.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { connectAs, type SpawnedClient } from "../support/spawned-client.ts";

const POLICY = `
[[rule]]
allow = ["call", "serve", "channel"]
topics = ["private.>"]
any = true
`;
const [ASKER, SERVER] = [12_345, 23_456];
const CANNOT_CHANGE_UID = process.getuid?.() !== 0;
const REASON = "users other than root's (run as root)";

let broker: SpawnedBroker;

beforeEach(async () => {
  broker = await spawnBroker({ policy: POLICY });
});

afterEach(async () => {
  await broker[Symbol.asyncDispose]();
});

/** Two processes with a channel between them. */
class Pair implements AsyncDisposable {
  readonly asker: SpawnedClient;
  readonly server: SpawnedClient;

  private constructor(asker: SpawnedClient, server: SpawnedClient) {
    this.asker = asker;
    this.server = server;
  }

  static async open(): Promise<Pair> {
    const { path } = broker;
    const pair = new Pair(await connectAs(ASKER, path), await connectAs(SERVER, path));
    await pair.server.call("serveChannels", "private.a");
    await pair.asker.call("openChannel", "private.a");
    return pair;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.asker[Symbol.asyncDispose](), this.server[Symbol.asyncDispose]()]);
  }
}

function numbersTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

describe("a channel between two processes", () => {
  testUnless(CANNOT_CHANGE_UID, REASON, "tells each who the other is", async () => {
    await using pair = await Pair.open();
    const { asker, server } = pair;
    expect(await asker.call("channelPeer")).toEqual({ uid: SERVER, pid: server.pid });
    expect(await server.call("channelPeer")).toEqual({ uid: ASKER, pid: asker.pid });
  });

  testUnless(CANNOT_CHANGE_UID, REASON, "outlives the broker that is killed", async () => {
    await using pair = await Pair.open();
    broker.kill("SIGKILL");
    await pair.asker.call("channelSend", 3);
    expect(await pair.server.call("channelNumbers", 3)).toEqual([0, 1, 2]);
  });

  for (const [killed, other] of [
    ["asker", "server"],
    ["server", "asker"],
  ] as const) {
    const name = `ends for the ${other} where the ${killed} is killed before it has read`;
    testUnless(CANNOT_CHANGE_UID, REASON, name, async () => {
      const fdsAtRest = await broker.fdsAtRest();
      await using pair = await Pair.open();
      pair[killed].kill("SIGSTOP");
      await pair[other].call("channelSend", 2, 200_000);
      pair[killed].kill("SIGKILL");
      expect(await pair[other].call("channelEnd")).toBeUndefined();
      await pair[other][Symbol.asyncDispose]();
      await broker.expectFds(fdsAtRest);
    });
  }

  testUnless(CANNOT_CHANGE_UID, REASON, "loses nothing while one side is stopped", async () => {
    await using pair = await Pair.open();
    pair.server.kill("SIGSTOP");
    const count = 100_000;
    const sending = pair.asker.call("channelSend", count, 100);
    await pair.asker.call("channelPeer");
    pair.server.kill("SIGCONT");
    expect(await pair.server.call("channelNumbers", count)).toEqual(numbersTo(count));
    await sending;
  });
});
