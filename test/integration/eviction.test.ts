/** Programs that the broker closes because they hold others back, and that come back. */

import { expect, test } from "bun:test";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { eventually } from "../support/eventually.ts";
import { floodUntilHeld } from "../support/numbered-flood.ts";
import { RawClient, textOf } from "../support/raw-client.ts";
import { spawnBroker } from "../support/spawned-broker.ts";
import { connectAs } from "../support/spawned-client.ts";

const POLICY = `
[[rule]]
topics = [">"]
any = true
allow = ["publish", "subscribe", "call", "serve"]

[[topic]]
topics = ["held"]
overflow = "block"

[limits]
stall-ms = 1000
`;

test("a stopped program that held others back is closed, and comes back with all it had", async () => {
  await using broker = await spawnBroker({ policy: POLICY });
  using publisher = await RawClient.open(broker.path);
  await using client = await connectAs(process.getuid?.() ?? 0, broker.path);
  await client.call("subscribe", "held", { overflow: "block" });
  await client.call("serve", "alive", "echo");
  client.kill("SIGSTOP");
  const topic = await publisher.openTopic("held");
  await floodUntilHeld(publisher, topic);
  const isEvicted = () =>
    broker.findAll("disconnected").some(({ code }) => code === "LIMIT_SLOW_READER");
  await eventually(isEvicted, "it was closed");
  await publisher.sync();
  client.kill("SIGCONT");
  await eventually(async () => (await client.call("disconnects")) === 1, "it has noticed");
  const id = await publisher.openService("alive");
  let call = 0;
  const reply = await eventually(async () => {
    call += 1;
    publisher.sendRequest(id, call, "hello");
    const answer = await publisher.next();
    return answer.opcode === OPCODE.REPLY && answer;
  }, "its service is back");
  expect(textOf(reply)).toBe("hello");
});

test("a client that holds others back is closed, however little its user may let wait", async () => {
  await using broker = await spawnBroker({ policy: `${POLICY}queued-bytes = 200_000\n` });
  using publisher = await RawClient.open(broker.path);
  using slow = await RawClient.open(broker.path);
  await slow.request(OPCODE.SUBSCRIBE, { pattern: "held", overflow: "block" });
  await floodUntilHeld(publisher, await publisher.openTopic("held"));
  // The publisher is not read from until then.
  await publisher.sync();
  const ended = await broker.reportedSoFar("disconnected");
  const end = ended.find(({ connection }) => connection === slow.connection);
  expect(end).toMatchObject({ code: "LIMIT_SLOW_READER", limit: 1_000 });
});
