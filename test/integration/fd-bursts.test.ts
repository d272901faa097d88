/** Many messages with fds that the broker finds at once: waiting for each other costs none of them. */

import { describe, expect, test } from "bun:test";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { FLAG_WAIT_FDS, OPCODE } from "../../src/protocol/opcodes.ts";
import { eventually } from "../support/eventually.ts";
import { messagePacket, RawClient } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { connectAs, type SpawnedClient } from "../support/spawned-client.ts";
import { numberedTexts, TestFiles } from "../support/test-files.ts";

/** Of one user; a connection may have half of it on its way. */
const FDS = 256;

const POLICY = `[[rule]]
allow = ["publish", "subscribe", "send-fds", "receive-fds"]
topics = [">"]
any = true

[limits]
fds = ${FDS}
`;

/** Has a client send all this while the broker is stopped, so that it comes in one turn. */
function burst(broker: SpawnedBroker, send: () => void): void {
  broker.kill("SIGSTOP");
  send();
  broker.kill("SIGCONT");
}

describe("a burst of messages with fds", () => {
  test("needs no more room in the broker than one of them", async () => {
    // So it may hold 192 files, half of them of messages.
    await using broker = await spawnBroker({ policy: POLICY, openFilesMax: 256 });
    using publisher = await RawClient.open(broker.path);
    const readers: RawClient[] = [];
    const topics: number[] = [];
    for (const name of ["a", "b", "c", "d"]) {
      const reader = await RawClient.open(broker.path);
      await reader.subscribe(name);
      readers.push(reader);
      topics.push(await publisher.openTopic(name));
    }
    using files = new TestFiles(numberedTexts("file", 15));
    burst(broker, () => {
      for (const topic of [...topics, ...topics]) publisher.sendMessage(topic, "", files.fds);
    });
    expect(await publisher.sync()).toMatchObject({ published: 8, denied: 0 });
    for (const reader of readers) {
      for (let count = 0; count < 2; count += 1) {
        const { fds } = await reader.nextOf(OPCODE.MESSAGE);
        expect(fds).toHaveLength(files.fds.length);
        for (const fd of fds) closeFd(fd);
      }
      reader[Symbol.dispose]();
    }
    expect(broker.findAll("fds-refused")).toEqual([]);
  });

  test("needs no more of its sender's quota than its subscribers leave untaken", async () => {
    await using broker = await spawnBroker({ policy: POLICY });
    using publisher = await RawClient.open(broker.path);
    const topic = await publisher.openTopic("files");
    await using subscribers = new AsyncDisposableStack();
    const each: SpawnedClient[] = [];
    for (let count = 0; count < 5; count += 1) {
      const subscriber = subscribers.use(await connectAs(process.getuid?.() ?? 0, broker.path));
      await subscriber.call("subscribe", "files");
      each.push(subscriber);
    }
    // Copies for all together are more than may be on their way.
    const messages = Math.floor(FDS / 2 / each.length) + 1;
    using files = new TestFiles(["a"]);
    const packet = messagePacket(topic, "", 1);
    const isTakenWhole = async () => {
      burst(broker, () => {
        for (let sent = 0; sent < messages; sent += 1) publisher.send(packet, files.fds);
      });
      const figures = await publisher.sync();
      await publisher.answerTo(await publisher.ask(OPCODE.SYNC, FLAG_WAIT_FDS));
      for (const subscriber of each) {
        const came = await subscriber.call("messages", Number(figures["published"]));
        expect(came.every(({ fdTexts }) => fdTexts.length === 1)).toBe(true);
      }
      return figures["denied"] === 0;
    };
    // How soon they take them is up to the kernel; were they not sent before the last one came, they
    // never would in time.
    await eventually(isTakenWhole, "a burst was taken whole");
  });
});
