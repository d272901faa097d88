/**
 * Rights that connections hold, brought up to date after the policy was replaced: what is gone is
 * taken away and told by REVOKED, what is new can be asked for at once. Each connection is
 * refreshed before its next packet is handled, or in its turn, whichever comes first. That is done in
 * steps, since one may hold thousands of rights.
 */

import { revokedBody } from "../../protocol/control-messages.ts";
import { OPCODE } from "../../protocol/opcodes.ts";
import type { Area } from "../area.ts";
import type { Connection, OpenTopic } from "../connection.ts";
import type { BrokerEventListener } from "../events.ts";
import type { FdGate } from "../fds/fd-gate.ts";
import type { Background } from "../long-work/background.ts";
import type { Chores } from "../long-work/chores.ts";
import type { Action } from "../policy/rules.ts";
import type { BusState } from "../routing/bus-state.ts";
import type { ControlSender } from "../routing/introductions.ts";
import { ENTRIES_PER_STEP } from "../turn-limits.ts";
import { blockRefusalMessage, refusalMessage } from "./refusal.ts";

/** What they are refreshed with. */
export interface RightsParts {
  readonly state: BusState;
  readonly fdGate: FdGate;
  readonly send: ControlSender;
  readonly onEvent: BrokerEventListener;
  readonly areas: readonly Area[];
  readonly background: Background;
  readonly chores: Chores;
}

/** Refreshes rights. */
export class Rights {
  readonly #state: BusState;
  readonly #fdGate: FdGate;
  readonly #send: ControlSender;
  readonly #onEvent: BrokerEventListener;
  readonly #areas: readonly Area[];
  readonly #background: Background;
  readonly #chores: Chores;

  constructor(parts: RightsParts) {
    this.#state = parts.state;
    this.#fdGate = parts.fdGate;
    this.#send = parts.send;
    this.#onEvent = parts.onEvent;
    this.#areas = parts.areas;
    this.#background = parts.background;
    this.#chores = parts.chores;
  }

  /** Whether the policy was replaced since this connection's rights were computed. */
  areStale(connection: Connection): boolean {
    return connection.policyGeneration !== this.#state.policyGeneration;
  }

  /** Begins to refresh all of these that are stale by then, one a step. */
  *sweep(connections: Iterable<Connection>): Generator<void, void> {
    for (const connection of connections) {
      if (connection.state !== "OPEN" || !this.areStale(connection)) continue;
      this.refresh(connection);
      yield;
    }
  }

  /**
   * Begins to compute all rights of one connection anew, and to tell it what it lost: its chore, which
   * is done before its next packet is handled. Stops where the news are more than it reads: it is
   * closed then, and loses all. Of many subscriptions, the first belong to the chore, and the others
   * are looked at in the background; what is delivered is decided by topic meanwhile.
   */
  refresh(connection: Connection): void {
    const { policyGeneration } = this.#state;
    connection.policyGeneration = policyGeneration;
    this.#chores.add(connection, this.#refresh(connection, policyGeneration));
  }

  *#refresh(connection: Connection, generation: number): Generator<void, void> {
    const isOver = () => this.#isOver(connection, generation);
    if (connection.state === "OPEN" && !isOver()) {
      this.#send(connection, { opcode: OPCODE.POLICY_CHANGED, id: 0 });
    }
    let takesFds = false;
    let looked = 0;
    for (const open of connection.openTopics.values()) {
      if (isOver()) return;
      this.#refreshTopic(connection, open);
      takesFds ||= open.mayPublish;
      if (++looked % ENTRIES_PER_STEP === 0) yield;
    }
    for (const area of this.#areas) {
      for (const _step of area.refresh(connection) ?? []) {
        if (isOver()) return;
        yield;
      }
      takesFds ||= area.takesFds?.(connection) === true;
    }
    if (isOver()) return;
    this.#fdGate.set(connection, takesFds);
    const steps = this.#refreshSubscriptions(connection, generation);
    if (steps.next().done === true) return;
    this.#background.addForRights(connection.identity.uid, steps);
  }

  /** Whether a refresh has nothing more to do: another policy is in force, or nobody is there. */
  #isOver({ state }: Connection, generation: number): boolean {
    return state === "DOOMED" || generation !== this.#state.policyGeneration;
  }

  /** Removes subscriptions that are not allowed any more, so many a step. */
  *#refreshSubscriptions(connection: Connection, generation: number): Generator<void, void> {
    let looked = 0;
    for (const [subscription, pattern] of connection.subscriptions) {
      if (this.#isOver(connection, generation)) return;
      this.#refreshSubscription(connection, subscription, pattern);
      if (++looked % ENTRIES_PER_STEP === 0) yield;
    }
  }

  #refreshSubscription(connection: Connection, subscription: number, pattern: string): void {
    const wish = connection.wishes.get(subscription);
    const decision = this.#state.decideSubscribe(connection, pattern);
    const grant = wish?.overflow === "block" ? this.#state.blockGrantOf(pattern) : undefined;
    if (decision.allowed && grant?.granted !== false) return;
    this.#state.unsubscribe(connection, pattern, wish);
    connection.subscriptions.delete(subscription);
    connection.wishes.delete(subscription);
    const rule = decision.allowed ? grant?.rule : decision.rule;
    const message = decision.allowed
      ? blockRefusalMessage(pattern, rule)
      : refusalMessage(connection.identity, "subscribe", pattern, rule);
    this.#revoke(connection, "subscribe", pattern, { rule, message, subscription });
  }

  #refreshTopic(connection: Connection, open: OpenTopic): void {
    const { id, name } = open.topic;
    const publish = this.#state.decide(connection, "publish", name);
    const sendFds = this.#state.peek(connection, "send-fds", name);
    const { identity } = connection;
    if (open.mayPublish && !publish.allowed) {
      const message = refusalMessage(identity, "publish", name, publish.rule);
      this.#revoke(connection, "publish", name, { rule: publish.rule, message, topicId: id });
    }
    if (open.sendFds.allowed && !sendFds.allowed) {
      const message = refusalMessage(identity, "send-fds", name, sendFds.rule);
      this.#revoke(connection, "send-fds", name, { rule: sendFds.rule, message, topicId: id });
    }
    open.mayPublish = publish.allowed;
    open.sendFds = sendFds;
    open.messageBytesMax = this.#state.messageBytesMax(connection, name);
  }

  #revoke(
    connection: Connection,
    action: Action,
    topic: string,
    about: {
      rule: string | undefined;
      message: string;
      topicId?: number;
      subscription?: number;
    },
  ): void {
    const { rule, message, subscription } = about;
    const body = revokedBody({ message, action, topic, rule, subscription });
    this.#send(connection, { opcode: OPCODE.REVOKED, id: about.topicId ?? 0, body });
    const { id, identity } = connection;
    this.#onEvent({ type: "revoked", connection: id, identity, action, topic, rule });
  }
}
