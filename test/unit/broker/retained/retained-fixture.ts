/**
 * Last values on a simulated kernel: a table, a router and a feed, with connections that publish and
 * subscribe without any socket.
 */

import type { Connection, OpenTopic } from "../../../../src/broker/connection.ts";
import type { FdBundle } from "../../../../src/broker/fds/fd-bundle.ts";
import { ownUidPolicy } from "../../../../src/broker/policy/decide.ts";
import type { Policy } from "../../../../src/broker/policy/rules.ts";
import { Replay } from "../../../../src/broker/retained/replay.ts";
import { RetainedTable } from "../../../../src/broker/retained/retained-table.ts";
import { type Origin, shareFds } from "../../../../src/broker/retained/retained-value.ts";
import { BusState } from "../../../../src/broker/routing/bus-state.ts";
import { type ControlSender, Introductions } from "../../../../src/broker/routing/introductions.ts";
import { Router } from "../../../../src/broker/routing/router.ts";
import { Topic } from "../../../../src/broker/routing/topic-table.ts";
import {
  CONTROL_FRAME_BUFFER,
  encodeControlFrame,
} from "../../../../src/broker/sending/control-frames.ts";
import { PinnedBuffer } from "../../../../src/ffi/pinned-buffer.ts";
import { kindWord, writeFrameHeader } from "../../../../src/protocol/frame.ts";
import { LARGE_BODY_BYTES_MAX } from "../../../../src/protocol/limits.ts";
import { FLAG_RETAINED, OPCODE } from "../../../../src/protocol/opcodes.ts";
import { ConnectionBench, finish, quietRouterHost } from "../connection-fixture.ts";
import { FrameBuffer, numberOf } from "../frame-fixture.ts";

/** What a connection was sent: `retained 3`, `3`, or the name of a control frame. */
export type Told = string;

const NAMES = new Map<number, string>(
  Object.entries(OPCODE).map(([name, opcode]) => [opcode, name]),
);

/** One broker's last values. */
export class RetainedBench {
  readonly connections = new ConnectionBench();
  readonly state: BusState;
  readonly table: RetainedTable;
  readonly replay: Replay;
  readonly router: Router;
  readonly unflushed = new Set<Connection>();
  readonly gone = new Set<Connection>();
  readonly #frames = new FrameBuffer();
  readonly #origins = new Map<Connection, Origin>();
  /** Milliseconds on the broker's clock. */
  now = 0;

  constructor(policy: Policy = ownUidPolicy(0)) {
    this.state = new BusState(policy, () => {});
    this.table = new RetainedTable(this.state.topics);
    const send: ControlSender = (connection, frame) => {
      connection.queue.push(CONTROL_FRAME_BUFFER, encodeControlFrame(frame));
    };
    const introductions = new Introductions(send);
    const host = {
      ...quietRouterHost(),
      noteUnflushed: (connection: Connection) => void this.unflushed.add(connection),
      notePeerGone: (connection: Connection) => void this.gone.add(connection),
      noteTooLarge: () => {},
    };
    const inFlight = this.connections.fdsInFlight;
    const { table, state } = this;
    this.replay = new Replay({ table, state, introductions, inFlight, host });
    this.router = new Router(state, introductions, inFlight, host, this.replay.giveBefore);
  }

  connect(id: number, uid = 0): Connection {
    return this.connections.connect(id, uid);
  }

  /** Opens a topic. */
  open(connection: Connection, name: string): OpenTopic {
    const topic = this.state.holdTopic(connection, name);
    if (!(topic instanceof Topic)) throw new Error("There are too many topics");
    const known = connection.openTopics.get(topic.id);
    if (known !== undefined) {
      this.state.releaseTopic(connection, topic);
      return known;
    }
    const sendFds = { allowed: true, rule: undefined };
    const rights = { mayPublish: true, messageBytesMax: LARGE_BODY_BYTES_MAX, sendFds };
    const open: OpenTopic = { topic, ...rights, introducedTo: undefined };
    connection.openTopics.set(topic.id, open);
    return open;
  }

  /** Keeps a value without delivering it to anybody. @returns whether it fits */
  keep(
    sender: Connection,
    name: string,
    number: number,
    options: { keptMs?: number; bytes?: number; bundle?: FdBundle } = {},
  ): boolean {
    const { keptMs, bundle, bytes = 64 } = options;
    const { topic } = this.open(sender, name);
    const size = { bytes, fds: bundle?.count ?? 0 };
    if (this.table.excess(sender.quota, name, size) !== undefined) return false;
    const frame = new PinnedBuffer(24);
    const kind = kindWord(OPCODE.MESSAGE, FLAG_RETAINED, bundle?.count ?? 0);
    writeFrameHeader(frame.words, 0, 24, kind, topic.id, sender.id);
    frame.words[4] = number;
    this.table.keep({
      topic,
      origin: this.originOf(sender),
      frame,
      bundle: bundle === undefined ? undefined : shareFds(bundle),
      deadline: keptMs === undefined ? Number.POSITIVE_INFINITY : this.now + keptMs,
      account: sender.quota,
      size,
    });
    bundle?.release();
    return true;
  }

  /** Delivers a message live. */
  publish(sender: Connection, name: string, number: number): void {
    const topic = this.open(sender, name).topic.id;
    const bytes = this.#frames.messages([{ topic, number, bodyBytes: 8 }]);
    this.router.routePacket(sender, this.#frames.buffer, bytes);
  }

  /** Delivers a message live and keeps it, as RETAIN does. */
  retain(sender: Connection, name: string, number: number): void {
    this.publish(sender, name, number);
    this.keep(sender, name, number);
  }

  /** @returns the number of the subscription */
  subscribe(connection: Connection, pattern: string): number {
    const subscription = connection.nextSubscription();
    connection.subscriptions.set(subscription, pattern);
    this.state.subscribe(connection, pattern);
    this.replay.begin(connection, subscription, pattern);
    return subscription;
  }

  unsubscribe(connection: Connection, subscription: number): void {
    const pattern = connection.subscriptions.get(subscription);
    if (pattern === undefined) throw new Error("There is no such subscription");
    connection.subscriptions.delete(subscription);
    this.state.unsubscribe(connection, pattern);
  }

  /** The connection ends; what it left stays. */
  leave(connection: Connection): void {
    const origin = this.#origins.get(connection);
    if (origin !== undefined) origin.connection = undefined;
    this.#origins.delete(connection);
    this.replay.leave(connection);
    connection.state = "DOOMED";
    finish(this.state.leave(connection));
    connection.quota.close();
  }

  originOf(connection: Connection): Origin {
    const { id, identity } = connection;
    const origin = this.#origins.get(connection) ?? { id, identity, connection };
    this.#origins.set(connection, origin);
    return origin;
  }

  /** Turns of the broker's loop until nobody is given anything more. */
  settle(...readers: readonly Connection[]): void {
    do {
      this.replay.run(() => true);
      for (const reader of readers) {
        reader.queue.flush();
        this.replay.wake(reader);
      }
    } while (!this.replay.isIdle);
  }

  /** What a connection was sent since the last call; messages by their numbers. */
  told(connection: Connection): Told[] {
    return this.connections.framesTo(connection).map((frame) => {
      if (frame.opcode !== OPCODE.MESSAGE) return NAMES.get(frame.opcode) ?? "?";
      const number = String(numberOf(frame));
      return (frame.flags & FLAG_RETAINED) === 0 ? number : `retained ${number}`;
    });
  }

  /** The messages among them. */
  messages(connection: Connection): Told[] {
    return this.told(connection).filter((told) => /\d$/.test(told));
  }
}
