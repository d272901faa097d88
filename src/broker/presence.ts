/**
 * Tells on the `$bus` topics what happens on the bus: who came and went, who serves what, who
 * subscribed. The messages are the broker's own, with origin 0, and their bodies are JSON; who may
 * read them is the policy's to say, as of any topic. While nobody subscribes to any such topic, an
 * event costs one look at a number.
 */

import type { ErrorCode } from "../errors.ts";
import { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { senderBody } from "../protocol/control-messages.ts";
import { PACKET_BYTES_MAX, SERVICE_OWNERS_TOLD_MAX } from "../protocol/limits.ts";
import { ENCODING, OPCODE } from "../protocol/opcodes.ts";
import { PacketWriter } from "../protocol/packet.ts";
import type { Connection } from "./connection.ts";
import type { BusState } from "./routing/bus-state.ts";
import { GroupDelivery } from "./routing/group-delivery.ts";
import type { ControlSender, Introductions } from "./routing/introductions.ts";
import type { RouteGroup } from "./routing/route.ts";
import type { RouterHost } from "./routing/router.ts";
import type { Topic } from "./routing/topic-table.ts";
import { type DeliveryHost, noteDelivery } from "./sending/delivery.ts";
import type { Service } from "./services/service-table.ts";

/** The broker's own place among the senders: no connection has this id. */
export const BROKER_ORIGIN = 0;

/** The topics that the broker publishes on; docs/protocol.md section 11. */
export const PRESENCE_TOPICS = {
  connected: "$bus.client.connected",
  disconnected: "$bus.client.disconnected",
  serviceChanged: "$bus.service.changed",
  subscriptionAdded: "$bus.subscription.added",
  subscriptionRemoved: "$bus.subscription.removed",
} as const;

/** What it tells with. */
export interface PresenceParts {
  readonly state: BusState;
  readonly introductions: Introductions;
  readonly send: ControlSender;
  readonly host: DeliveryHost & Pick<RouterHost, "unreadBytes">;
}

/** Who the broker itself is, as a sender. */
const SELF = {
  uid: process.geteuid?.() ?? 0,
  gid: process.getegid?.() ?? 0,
  pid: process.pid,
  groups: [],
};

/** Tells who is on the bus and what they do. */
export class Presence {
  readonly #parts: PresenceParts;
  readonly #buffer = new PinnedBuffer(PACKET_BYTES_MAX);
  readonly #writer = new PacketWriter(this.#buffer.bytes.buffer as ArrayBuffer);
  /** Those that have said HELLO. */
  readonly #present = new Set<Connection>();
  /** Those that know who the broker is. */
  readonly #informed = new WeakSet<Connection>();
  readonly #topics = new Map<string, Topic>();
  readonly #groups: GroupDelivery<typeof SELF>;

  constructor(parts: PresenceParts) {
    this.#parts = parts;
    const { host } = parts;
    this.#groups = new GroupDelivery({
      unreadBytes: (connection) => host.unreadBytes(connection),
      settle: (_self, member, outcome) => noteDelivery(host, member, outcome),
    });
    parts.state.onSubscription = (...change) => this.noteSubscription(...change);
  }

  /** Whether anybody may be listening. */
  get isWanted(): boolean {
    return this.#parts.state.reservedSubscriptions > 0;
  }

  /** A client was welcomed. */
  noteConnected(connection: Connection): void {
    this.#present.add(connection);
    if (this.isWanted) this.#publish(PRESENCE_TOPICS.connected, identityOf(connection));
  }

  /**
   * A connection has ended, and is in no table any more. Its subscriptions are not told one by one.
   * @param code why, where it was not the client's own wish
   */
  noteDisconnected(connection: Connection, code: ErrorCode | undefined): void {
    if (!this.#present.delete(connection) || !this.isWanted) return;
    this.#publish(PRESENCE_TOPICS.disconnected, { ...identityOf(connection), code });
  }

  /** Who serves a service has changed. */
  noteService(service: Service<Connection>): void {
    if (!this.isWanted) return;
    const owners: number[] = [];
    for (const { id } of service.owners) {
      if (owners.length >= SERVICE_OWNERS_TOLD_MAX) break;
      owners.push(id);
    }
    const { generation, ownerCount: count } = service;
    const name = service.topic.name;
    this.#publish(PRESENCE_TOPICS.serviceChanged, { service: name, generation, owners, count });
  }

  /** A client subscribed, or has one subscription less. */
  noteSubscription(connection: Connection, pattern: string, isAdded: boolean): void {
    if (!this.isWanted) return;
    const name = isAdded ? PRESENCE_TOPICS.subscriptionAdded : PRESENCE_TOPICS.subscriptionRemoved;
    this.#publish(name, { ...identityOf(connection), pattern });
  }

  #publish(name: string, body: object): void {
    const { state, host, introductions } = this.#parts;
    const topic = this.#topicOf(name);
    if (topic === undefined) return;
    const { destinations, groups } = state.routeOf(topic, introductions.introduceTopicOf);
    if (destinations.length === 0 && groups.length === 0) return;
    if (topic.untold !== undefined) introductions.tellLate(topic);
    const bytes = new TextEncoder().encode(JSON.stringify(body));
    this.#writer.reset();
    this.#writer.append(OPCODE.MESSAGE, ENCODING.JSON, 0, topic.id, BROKER_ORIGIN, bytes);
    for (const destination of destinations) {
      this.#introduceBroker(destination);
      const outcome = destination.queue.deliver(this.#buffer, 0, this.#writer.packetBytes);
      noteDelivery(host, destination, outcome);
    }
    for (const group of groups) this.#tellGroup(group);
  }

  /** The message in the buffer, whose topic id is overwritten. */
  #tellGroup(group: RouteGroup): void {
    if (group.topic?.untold !== undefined) this.#parts.introductions.tellLate(group.topic);
    for (const member of group.members) this.#introduceBroker(member);
    const run = { start: 0, end: this.#writer.packetBytes, messages: 1 };
    this.#groups.deliverRun(SELF, group, this.#buffer, run);
  }

  /** @returns undefined where there are too many topics, now and when the first event came */
  #topicOf(name: string): Topic | undefined {
    const topic = this.#topics.get(name) ?? this.#parts.state.topics.hold(name);
    if (topic !== undefined) this.#topics.set(name, topic);
    return topic;
  }

  #introduceBroker(destination: Connection): void {
    if (this.#informed.has(destination)) return;
    this.#informed.add(destination);
    const body = senderBody(SELF);
    this.#parts.send(destination, { opcode: OPCODE.SENDER, id: BROKER_ORIGIN, body });
  }
}

function identityOf({ id, identity }: Connection): object {
  const { uid, gid, pid, unit, exe } = identity;
  return { connection: id, uid, gid, pid, unit, exe };
}
