/**
 * Rights that connections hold, brought up to date after the policy was replaced: what is gone is
 * taken away and told by REVOKED, what is new can be asked for at once. Each connection is
 * refreshed before its next packet is handled, or in its turn, whichever comes first.
 */

import { revokedBody } from "../protocol/control-messages.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import type { Area } from "./area.ts";
import type { BusState } from "./bus-state.ts";
import type { Connection, OpenTopic } from "./connection.ts";
import type { BrokerEventListener } from "./events.ts";
import type { FdGate } from "./fd-gate.ts";
import type { ControlSender } from "./introductions.ts";
import type { Decision } from "./policy/decide.ts";
import type { Action } from "./policy/rules.ts";
import { refusalMessage } from "./refusal.ts";

/** What they are refreshed with. */
export interface RightsParts {
  readonly state: BusState;
  readonly fdGate: FdGate;
  readonly send: ControlSender;
  readonly onEvent: BrokerEventListener;
  readonly areas: readonly Area[];
}

/** Refreshes rights. */
export class Rights {
  readonly #state: BusState;
  readonly #fdGate: FdGate;
  readonly #send: ControlSender;
  readonly #onEvent: BrokerEventListener;
  readonly #areas: readonly Area[];

  constructor(parts: RightsParts) {
    this.#state = parts.state;
    this.#fdGate = parts.fdGate;
    this.#send = parts.send;
    this.#onEvent = parts.onEvent;
    this.#areas = parts.areas;
  }

  /** Whether the policy was replaced since this connection's rights were computed. */
  areStale(connection: Connection): boolean {
    return connection.policyGeneration !== this.#state.policyGeneration;
  }

  /** Refreshes all of these that are stale by then, one a step. */
  *sweep(connections: Iterable<Connection>): Generator<void, void> {
    for (const connection of connections) {
      if (connection.state !== "OPEN" || !this.areStale(connection)) continue;
      this.refresh(connection);
      yield;
    }
  }

  /**
   * Computes all rights of one connection anew and tells it what it lost. Stops where the news are
   * more than it reads: it is closed then, and loses all.
   */
  refresh(connection: Connection): void {
    connection.policyGeneration = this.#state.policyGeneration;
    if (connection.state === "OPEN") {
      this.#send(connection, { opcode: OPCODE.POLICY_CHANGED, id: 0 });
    }
    let mayPublish = false;
    for (const open of connection.openTopics.values()) {
      this.#refreshTopic(connection, open);
      mayPublish ||= open.mayPublish;
    }
    for (const [subscription, pattern] of connection.subscriptions) {
      const decision = this.#state.decideSubscribe(connection, pattern);
      if (decision.allowed) continue;
      connection.subscriptions.delete(subscription);
      this.#state.unsubscribe(connection, pattern);
      this.#revoke(connection, "subscribe", pattern, decision, { subscription });
      if (connection.state === "DOOMED") return;
    }
    let takesFds = mayPublish;
    for (const area of this.#areas) {
      area.refresh(connection);
      takesFds ||= area.takesFds?.(connection) === true;
    }
    this.#fdGate.set(connection, takesFds);
  }

  #refreshTopic(connection: Connection, open: OpenTopic): void {
    const { id, name } = open.topic;
    const publish = this.#state.decide(connection, "publish", name);
    const sendFds = this.#state.peek(connection, "send-fds", name);
    if (open.mayPublish && !publish.allowed) {
      this.#revoke(connection, "publish", name, publish, { topicId: id });
    }
    if (open.sendFds.allowed && !sendFds.allowed) {
      this.#revoke(connection, "send-fds", name, sendFds, { topicId: id });
    }
    open.mayPublish = publish.allowed;
    open.sendFds = sendFds;
    open.messageBytesMax = this.#state.messageBytesMax(connection, name);
  }

  #revoke(
    connection: Connection,
    action: Action,
    topic: string,
    { rule }: Decision,
    about: { topicId?: number; subscription?: number },
  ): void {
    const message = refusalMessage(connection.identity, action, topic, rule);
    const { subscription } = about;
    const body = revokedBody({ message, action, topic, rule, subscription });
    this.#send(connection, { opcode: OPCODE.REVOKED, id: about.topicId ?? 0, body });
    const { id, identity } = connection;
    this.#onEvent({ type: "revoked", connection: id, identity, action, topic, rule });
  }
}
