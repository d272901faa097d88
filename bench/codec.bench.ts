/**
 * Micro benchmarks of pure code: packet reader, router, quotas, control codec, topic matching, and
 * message bodies. Run: `bun bench/codec.bench.ts`. Figures are for one packet, frame or call, as named.
 */

import { do_not_optimize, group } from "mitata";
import { Connection } from "../src/broker/connection.ts";
import { FdsInFlight } from "../src/broker/fds/fds-in-flight.ts";
import { Deferred } from "../src/broker/long-work/deferred.ts";
import { ownUidPolicy } from "../src/broker/policy/decide.ts";
import { type ConnectionQuota, Quotas, RESOURCE } from "../src/broker/quotas/quota.ts";
import { QUOTA_DEFAULTS } from "../src/broker/quotas/quota-limits.ts";
import { BusState } from "../src/broker/routing/bus-state.ts";
import { Introductions } from "../src/broker/routing/introductions.ts";
import { Router } from "../src/broker/routing/router.ts";
import { SubscriptionIndex } from "../src/broker/routing/subscription-index.ts";
import { PacketPool } from "../src/broker/sending/packet-pool.ts";
import { SendQueue } from "../src/broker/sending/send-queue.ts";
import { decodeBody, encodeBody } from "../src/client/body-codec.ts";
import { OwnedFd } from "../src/ffi/owned-fd.ts";
import { openSeqpacket } from "../src/ffi/seqpacket.ts";
import { decodeControlBody, encodeControlBody } from "../src/protocol/control-body.ts";
import { topicBody } from "../src/protocol/control-messages.ts";
import { LARGE_BODY_BYTES_MAX } from "../src/protocol/limits.ts";
import { ENCODING } from "../src/protocol/opcodes.ts";
import { PacketReader } from "../src/protocol/packet.ts";
import { topicMatches } from "../src/protocol/topics.ts";
import { buildRing, messagesPerPacket, type PrebuiltPacket } from "./message-ring.ts";
import { bench, runBenches } from "./micro.ts";

const MESSAGE_BYTES = 64;
const PACKET_BYTES = 65_536;
const SUBSCRIBERS = 16;
const FRAMES = messagesPerPacket(MESSAGE_BYTES, PACKET_BYTES);

function firstPacket(topicIds: readonly number[], packetBytes = PACKET_BYTES): PrebuiltPacket {
  const [packet] = buildRing(topicIds, MESSAGE_BYTES, packetBytes);
  if (packet === undefined) throw new Error("No packet was built");
  return packet;
}

/** A router with one sender, whose topics lead to subscribers that take every packet. */
function routerFixture(
  topicCount: number,
  { subscribers = 1, packetBytes = PACKET_BYTES } = {},
): { route: () => number } {
  const state = new BusState(ownUidPolicy(0), () => {});
  const sink = {
    sendPacket: (_fd: number, _buffer: unknown, _offset: number, bytes: number) => bytes,
    sendPacketWithFds: () => 0,
    countUnreadRecords: () => 0,
  };
  const inFlight = new FdsInFlight(() => 0, new Deferred());
  const pool = new PacketPool();
  const quotas = new Quotas(() => QUOTA_DEFAULTS);
  const identity = { uid: 0, gid: 0, pid: 0, groups: [] };
  const connect = (id: number) => {
    const quota = quotas.open(0);
    const outletHost = inFlight.outletHost({ id, identity }, () => {});
    return new Connection({
      id,
      slot: id,
      socket: OwnedFd.adopt(openSeqpacket()),
      identity,
      queue: new SendQueue(id, sink, pool.open(quota), outletHost),
      quota,
      fdAccount: inFlight.account(quota),
      acceptedAt: 0,
      policyGeneration: 0,
    });
  };
  const sender = connect(1);
  for (let id = 2; id < 2 + subscribers; id += 1) state.subscribe(connect(id), "bench.>");
  const topicIds = Array.from({ length: topicCount }, (_, index) => {
    const topic = state.topics.hold(`bench.${index}`);
    if (topic === undefined) throw new Error("No topic is left");
    sender.openTopics.set(topic.id, {
      topic,
      mayPublish: true,
      messageBytesMax: LARGE_BODY_BYTES_MAX,
      sendFds: { allowed: false, rule: undefined },
      introducedTo: undefined,
    });
    return topic.id;
  });
  const host = {
    hasTime: () => true,
    noteUnflushed: () => {},
    notePeerGone: () => {},
    noteSlowReader: () => {},
    noteHeld: () => {},
    unreadBytes: () => 0,
    noteTooLarge: () => {},
  };
  const router = new Router(state, new Introductions(() => {}), inFlight, host);
  const { buffer, bytes } = firstPacket(topicIds, packetBytes);
  return { route: () => router.routePacket(sender, buffer, bytes) };
}

group(`one packet of ${FRAMES} messages of ${MESSAGE_BYTES} bytes`, () => {
  const reader = new PacketReader();
  const { buffer, bytes } = firstPacket([1]);
  bench("PacketReader.read", () =>
    do_not_optimize(reader.read(buffer.words, buffer.bytes, bytes, 0, "client")),
  );
  for (const topics of [1, 7, 1_000]) {
    const fixture = routerFixture(topics);
    bench(`Router.routePacket, ${topics} topics in turn`, () => do_not_optimize(fixture.route()));
  }
});

group(`one packet to ${SUBSCRIBERS} subscribers`, () => {
  for (const packetBytes of [128, PACKET_BYTES / 2]) {
    const fixture = routerFixture(1, { subscribers: SUBSCRIBERS, packetBytes });
    const messages = messagesPerPacket(MESSAGE_BYTES, packetBytes);
    const name = `Router.routePacket, ${messages} messages of one topic`;
    bench(name, () => do_not_optimize(fixture.route()));
  }
});

group("control bodies", () => {
  const map = topicBody({ topic: "sensors.kitchen.temperature" });
  const target = new Uint8Array(4_096);
  const end = encodeControlBody(map, target, 0);
  bench("encodeControlBody", () => do_not_optimize(encodeControlBody(map, target, 0)));
  bench("decodeControlBody", () => do_not_optimize(decodeControlBody(target, 0, end)));
});

group("a charge and its release", () => {
  const quotas = new Quotas(() => QUOTA_DEFAULTS);
  const [modest, greedy] = [quotas.open(0), quotas.open(0)];
  const { pendingCalls } = RESOURCE;
  greedy.charge(pendingCalls, greedy.limit(pendingCalls) / 2);
  const chargeOne = (quota: ConnectionQuota) => {
    do_not_optimize(quota.charge(pendingCalls, 1));
    quota.release(pendingCalls, 1);
  };
  bench("ConnectionQuota, within its share", () => chargeOne(modest));
  bench("ConnectionQuota, beyond its share", () => chargeOne(greedy));
  const packets = new PacketPool().open(modest);
  bench("PacketShare, one packet of a backlog", () => {
    packets.release(packets.acquire(true) ?? packets.acquireBeyond());
  });
});

group("topics", () => {
  const index = new SubscriptionIndex<number>();
  for (let number = 0; number < 100_000; number += 1) index.add(`other.${number}.>`, number);
  index.add("sensors.*.temperature", -1);
  bench("topicMatches", () =>
    do_not_optimize(topicMatches("sensors.*.temperature", "sensors.kitchen.temperature")),
  );
  bench("SubscriptionIndex.match among 100,000", () =>
    do_not_optimize(index.match("sensors.kitchen.temperature")),
  );
});

group("message bodies", () => {
  const reading = { number: 7, celsius: 21.5, unit: "C" };
  const packet = new Uint8Array(PACKET_BYTES);
  const start = PACKET_BYTES / 2;
  const { bytes } = encodeBody(reading, "auto");
  packet.set(bytes, start);
  const end = start + bytes.byteLength;
  bench("encodeBody, object", () => do_not_optimize(encodeBody(reading, "auto")));
  bench("decodeBody, object", () =>
    do_not_optimize(decodeBody(ENCODING.MSGPACK, packet, start, end)),
  );
  bench("decodeBody, bytes", () => do_not_optimize(decodeBody(ENCODING.BYTES, packet, start, end)));
});

await runBenches();
