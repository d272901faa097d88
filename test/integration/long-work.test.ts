/** Work that takes long, brought about by one client, beside what others wait for. */

import { describe, expect, test } from "bun:test";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import type { PacketWriter } from "../../src/protocol/packet.ts";
import { eventually } from "../support/eventually.ts";
import { openPipe } from "../support/pipes.ts";
import {
  appendRequest,
  mapOf,
  packetOf,
  type RawClient,
  type RawFrame,
} from "../support/raw-client.ts";
import { openAs } from "../support/raw-user.ts";
import { spawnBroker } from "../support/spawned-broker.ts";
import { TestFiles } from "../support/test-files.ts";

const [BUSY, OTHER] = [12_345, 23_456];
const FRAMES_PER_PACKET = 250;

const OPEN = `
[limits]
topics = 1000000
services = 1000000
[[rule]]
id = "open"
allow = ["publish", "subscribe", "call", "serve"]
topics = [">"]
any = true
`;

const SHUT = `${OPEN}
[[rule]]
id = "shut"
deny = ["publish", "serve"]
topics = ["shut.>"]
any = true
`;

/** Sends so many frames, and takes what comes meanwhile. */
async function sendAll(
  client: RawClient,
  count: number,
  append: (writer: PacketWriter, number: number) => void,
): Promise<RawFrame[]> {
  const received: RawFrame[] = [];
  for (let start = 0; start < count; start += FRAMES_PER_PACKET) {
    const packet = packetOf((writer) => {
      const end = Math.min(count, start + FRAMES_PER_PACKET);
      for (let number = start; number < end; number += 1) append(writer, number);
    });
    await client.sendEventually(packet);
    received.push(...client.received());
  }
  return received;
}

/** Sends requests with ids from 1 on, and waits until all are granted. @returns the ACKs in order */
async function requestAll(
  client: RawClient,
  opcode: number,
  bodies: readonly Record<string, string | number>[],
): Promise<RawFrame[]> {
  const acks = await sendAll(client, bodies.length, (writer, number) => {
    writer.appendControl(opcode, 0, number + 1, bodies[number]);
  });
  await eventually(() => {
    acks.push(...client.received());
    return acks.filter((frame) => frame.opcode === OPCODE.ACK).length >= bodies.length;
  }, "all requests are granted");
  return acks.filter((frame) => frame.opcode === OPCODE.ACK);
}

function names(count: number): string[] {
  return Array.from({ length: count }, (_, number) => `s.${number}`);
}

describe("a reload of the policy", () => {
  test("takes effect while news of services that a client toggles are still told", async () => {
    await using broker = await spawnBroker({ policy: OPEN, nextPolicy: SHUT });
    const services = names(1_000);
    // An administrator: what it asks for in one go the broker gets in this order, however busy we are.
    using server = await openAs(0, broker.path);
    const bodies = services.map((service) => ({ service }));
    const served = await requestAll(server, OPCODE.SERVE, bodies);
    const watchers = await Promise.all(Array.from({ length: 40 }, () => openAs(BUSY, broker.path)));
    for (const watcher of watchers) await requestAll(watcher, OPCODE.WATCH, bodies);
    using victim = await openAs(OTHER, broker.path);
    await victim.openTopic("shut.a");
    await requestAll(victim, OPCODE.WATCH, bodies);

    broker.kill("SIGSTOP");
    const ids = served.map((frame) => ({ service: Number(mapOf(frame)["service"]) }));
    await sendAll(server, ids.length, (writer, number) => {
      writer.appendControl(OPCODE.UNSERVE, 0, number + 1, ids[number]);
    });
    server.sendControl(OPCODE.RELOAD_POLICY, ids.length + 1);
    broker.kill("SIGCONT");
    let before = 0;
    for (;;) {
      const { opcode } = await victim.next();
      if (opcode === OPCODE.REVOKED) break;
      if (opcode === OPCODE.SERVICE) before += 1;
    }
    expect(before).toBeLessThan(services.length);
    let count = before;
    await eventually(() => {
      for (const each of [victim, ...watchers]) count += each.received().filter(isNews).length;
      return count === services.length * (watchers.length + 1);
    }, "all watchers are told of all services");
    for (const watcher of watchers) watcher[Symbol.dispose]();
  });
});

describe("a client with many rights", () => {
  test("has lost those that a reload took before its next packet is handled", async () => {
    await using broker = await spawnBroker({ policy: OPEN, nextPolicy: SHUT, keepFdsOut: false });
    using reader = await openAs(OTHER, broker.path);
    await reader.subscribe(">");
    using administrator = await openAs(0, broker.path);
    const topics = Array.from({ length: 8_000 }, (_, number) => ({ topic: `shut.${number}` }));
    const acks = await requestAll(administrator, OPCODE.OPEN_TOPIC, topics);
    const fds = await broker.fdsAtRest();
    await administrator.request(OPCODE.RELOAD_POLICY);
    const last = Number(mapOf(acks.at(-1) as RawFrame)["topic"]);
    const ends = Object.values(openPipe());
    administrator.sendMessage(last, "with files", ends);
    for (const end of ends) closeFd(end);
    administrator.sendMessage(last, "and without");
    expect(await administrator.sync()).toMatchObject({ published: 0, delivered: 0, denied: 2 });
    await broker.expectFds(fds);
    expect(reader.received().filter(({ opcode }) => opcode === OPCODE.MESSAGE)).toEqual([]);
  });

  test("is refused no files meanwhile that it could send at another time", async () => {
    const open = OPEN.replace('"publish"', '"publish", "send-fds"');
    const few = open.replace("[limits]", "[limits]\nfds = 8");
    await using broker = await spawnBroker({ policy: few, nextPolicy: few, keepFdsOut: false });
    using administrator = await openAs(0, broker.path);
    const topics = Array.from({ length: 8_000 }, (_, number) => ({ topic: `open.${number}` }));
    const acks = await requestAll(administrator, OPCODE.OPEN_TOPIC, topics);
    await administrator.request(OPCODE.RELOAD_POLICY);
    const last = Number(mapOf(acks.at(-1) as RawFrame)["topic"]);
    using files = new TestFiles(["1", "2", "3", "4", "5", "6"]);
    administrator.sendMessage(last, "to nobody", files.fds);
    expect(await administrator.sync()).toMatchObject({ published: 1, denied: 0 });
  });
});

describe("the end of a member with many calls", () => {
  test("is told to every caller once, for each of its calls", async () => {
    await using broker = await spawnBroker({ policy: OPEN });
    using member = await openAs(BUSY, broker.path);
    await member.serve("s");
    using caller = await openAs(OTHER, broker.path);
    const serviceId = await caller.openService("s");
    const calls = 5_000;
    const answers = await sendAll(caller, calls, (writer, number) => {
      appendRequest(writer, { serviceId, call: number + 1, body: "x" });
      member.received();
    });
    await caller.sync();
    member[Symbol.dispose]();
    await eventually(() => {
      answers.push(...caller.received());
      return answers.filter(({ opcode }) => opcode === OPCODE.ERROR).length >= calls;
    }, "all calls have ended");
    await caller.sync();
    answers.push(...caller.received());
    const ended = answers.filter(({ opcode }) => opcode === OPCODE.ERROR);
    expect(ended.map(({ id }) => id).sort((a, b) => a - b)).toEqual(
      Array.from({ length: calls }, (_, number) => number + 1),
    );
  });
});

function isNews({ opcode }: RawFrame): boolean {
  return opcode === OPCODE.SERVICE;
}
