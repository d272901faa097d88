/**
 * Control frames of clients: what each asks for, whether it may have it, and the answer. Cold
 * path; messages never come here. The limits of one client and the questions to the policy stand
 * in this file.
 */

import { ProtocolError, type RejectedErrorCode } from "../../errors.ts";
import { decodeExplain, type Explain } from "../../protocol/administration-messages.ts";
import type { ControlMap } from "../../protocol/control-body.ts";
import {
  decodeHello,
  decodeOpenTopic,
  decodeSubscribe,
  decodeUnsubscribe,
  errorBody,
  type Hello,
  openTopicAckBody,
  type Subscribe,
  subscribeAckBody,
  syncAckBody,
} from "../../protocol/control-messages.ts";
import { FRAME_HEADER_BYTES, PROTOCOL_VERSION } from "../../protocol/limits.ts";
import { FLAG_RESUME, FLAG_WAIT_FDS, OPCODE } from "../../protocol/opcodes.ts";
import { STATUS, type StatusName } from "../../protocol/status-codes.ts";
import { checkGroupName, checkPattern, refusalOfName } from "../../protocol/topics.ts";
import type { Area, CarryOut, ClientFrame } from "../area.ts";
import type { Connection } from "../connection.ts";
import type { BrokerEventListener } from "../events.ts";
import type { FdGate } from "../fds/fd-gate.ts";
import type { FdSweep } from "../fds/fd-sweep.ts";
import type { Action } from "../policy/rules.ts";
import { excessWords, type LimitFigures } from "../quotas/excess.ts";
import type { BackPressure } from "../reading/back-pressure.ts";
import type { Replay } from "../retained/replay.ts";
import type { BusState } from "../routing/bus-state.ts";
import type { ControlSender } from "../routing/introductions.ts";
import { GROUPS_PER_CONNECTION_MAX } from "../routing/limits.ts";
import { Topic } from "../routing/topic-table.ts";
import type { Administration } from "./administration.ts";
import { blockRefusalMessage, refusalMessage } from "./refusal.ts";

/** A control frame that was read and found good. */
export type Request =
  | { readonly opcode: typeof OPCODE.NOOP }
  | { readonly opcode: typeof OPCODE.PAUSE; readonly isPaused: boolean }
  | { readonly opcode: typeof OPCODE.CLOSE_TOPIC; readonly topicId: number }
  | { readonly opcode: typeof OPCODE.OPEN_TOPIC; readonly id: number; readonly topic: string }
  | { readonly opcode: typeof OPCODE.SUBSCRIBE; readonly id: number; readonly wanted: Subscribe }
  | {
      readonly opcode: typeof OPCODE.UNSUBSCRIBE;
      readonly id: number;
      readonly subscription: number;
    }
  | { readonly opcode: typeof OPCODE.SYNC; readonly id: number; readonly waitsForFds: boolean }
  | { readonly opcode: typeof OPCODE.RELOAD_POLICY; readonly id: number }
  | { readonly opcode: typeof OPCODE.EXPLAIN; readonly id: number; readonly question: Explain }
  | { readonly opcode: "area"; readonly carryOut: CarryOut };

/** Statuses that tell of a limit. */
type LimitStatus = Extract<StatusName, `LIMIT_${string}`>;

/** What they are carried out with. */
export interface RequestsParts {
  readonly state: BusState;
  readonly administration: Administration;
  readonly fdGate: FdGate;
  readonly send: ControlSender;
  readonly onEvent: BrokerEventListener;
  readonly areas: readonly Area[];
  readonly replay: Pick<Replay, "begin">;
  readonly fdSweep: Pick<FdSweep, "lookAll" | "watchAll">;
  readonly backPressure: Pick<BackPressure, "setPaused">;
}

/** Carries out requests. */
export class Requests {
  readonly #state: BusState;
  readonly #administration: Administration;
  readonly #fdGate: FdGate;
  readonly #send: ControlSender;
  readonly #onEvent: BrokerEventListener;
  readonly #areas = new Map<number, Area>();
  readonly #replay: Pick<Replay, "begin">;
  readonly #fdSweep: Pick<FdSweep, "lookAll" | "watchAll">;
  readonly #backPressure: Pick<BackPressure, "setPaused">;

  constructor(parts: RequestsParts) {
    this.#state = parts.state;
    this.#administration = parts.administration;
    this.#fdGate = parts.fdGate;
    this.#send = parts.send;
    this.#onEvent = parts.onEvent;
    this.#replay = parts.replay;
    this.#fdSweep = parts.fdSweep;
    this.#backPressure = parts.backPressure;
    for (const area of parts.areas) {
      for (const opcode of area.opcodes) this.#areas.set(opcode, area);
    }
  }

  /**
   * Reads HELLO. What follows from it (WELCOME, the lane) is the caller's.
   * @throws {ProtocolError} PROTOCOL_CONTROL_BODY, or PROTOCOL_VERSION
   */
  readHello(frame: ClientFrame): Hello {
    const hello = decodeHello(frame.bytes, bodyStart(frame), bodyEnd(frame));
    if (hello.protocol === PROTOCOL_VERSION) return hello;
    throw new ProtocolError(
      "PROTOCOL_VERSION",
      `Cannot serve client: it speaks protocol ${hello.protocol}, this broker ${PROTOCOL_VERSION}`,
      frame.offset,
    );
  }

  /**
   * Reads one control frame of a client that has said HELLO. Nothing takes effect yet, so a packet
   * can be read whole before any of it does. Whether topic ids are open is for the caller to check.
   * @throws {ProtocolError} where the frame itself is wrong
   */
  read(connection: Connection, frame: ClientFrame): Request {
    const { opcode, id, bytes, offset } = frame;
    const start = bodyStart(frame);
    const end = bodyEnd(frame);
    switch (opcode) {
      case OPCODE.NOOP:
        return { opcode };
      case OPCODE.PAUSE:
        return { opcode, isPaused: (frame.flags & FLAG_RESUME) === 0 };
      case OPCODE.CLOSE_TOPIC:
        return { opcode, topicId: id };
      case OPCODE.OPEN_TOPIC:
        checkRequestId(frame);
        return { opcode, id, topic: decodeOpenTopic(bytes, start, end).topic };
      case OPCODE.SUBSCRIBE:
        checkRequestId(frame);
        return { opcode, id, wanted: decodeSubscribe(bytes, start, end) };
      case OPCODE.UNSUBSCRIBE:
        checkRequestId(frame);
        return { opcode, id, subscription: decodeUnsubscribe(bytes, start, end).subscription };
      case OPCODE.SYNC:
        checkRequestId(frame);
        return { opcode, id, waitsForFds: (frame.flags & FLAG_WAIT_FDS) !== 0 };
      case OPCODE.RELOAD_POLICY:
        checkRequestId(frame);
        return { opcode, id };
      case OPCODE.EXPLAIN:
        checkRequestId(frame);
        return { opcode, id, question: decodeExplain(bytes, start, end) };
      case OPCODE.HELLO: {
        const message = "Cannot take HELLO: this connection has said it";
        throw new ProtocolError("PROTOCOL_STATE", message, offset);
      }
      default: {
        const area = this.#areas.get(opcode);
        if (area === undefined) throw unknownOpcode(frame);
        return { opcode: "area", carryOut: area.read(connection, frame) };
      }
    }
  }

  /** Carries out what read() returned: grants and answers it, or answers why not. */
  carryOut(connection: Connection, request: Request): void {
    switch (request.opcode) {
      case OPCODE.NOOP:
        return;
      case OPCODE.PAUSE:
        return this.#backPressure.setPaused(connection, request.isPaused);
      case OPCODE.CLOSE_TOPIC:
        return this.#closeTopic(connection, request.topicId);
      case OPCODE.OPEN_TOPIC:
        return this.#openTopic(connection, request.id, request.topic);
      case OPCODE.SUBSCRIBE:
        return this.#subscribe(connection, request.id, request.wanted);
      case OPCODE.UNSUBSCRIBE:
        return this.#unsubscribe(connection, request.id, request.subscription);
      case OPCODE.SYNC:
        return this.#sync(connection, request.id, request.waitsForFds);
      case OPCODE.RELOAD_POLICY:
        return this.#administration.reloadPolicy(connection, request.id);
      case OPCODE.EXPLAIN:
        return this.#administration.explain(connection, request.id, request.question);
      case "area":
        return request.carryOut();
    }
  }

  #openTopic(connection: Connection, id: number, name: string): void {
    const message = refusalOfName(name, "Cannot open topic");
    if (message !== undefined) {
      return this.#refuse(connection, id, "REJECTED_TOPIC_NAME", message, {});
    }
    const known = this.#state.topics.find(name);
    const open = known === undefined ? undefined : connection.openTopics.get(known.id);
    if (open?.mayPublish === true) {
      const body = openTopicAckBody({ topic: open.topic.id, sendFds: open.sendFds.allowed });
      return this.#send(connection, { opcode: OPCODE.ACK, id: id, body });
    }
    const decision = this.#state.decide(connection, "publish", name);
    if (!decision.allowed) {
      return this.#deny(connection, id, "publish", name, decision.rule);
    }
    const topic = open?.topic ?? this.#state.holdTopic(connection, name);
    if (!(topic instanceof Topic)) {
      const { limit, actual } = topic;
      const message = `Cannot open topic "${name}": ${excessWords(topic)}`;
      const about = { topic: name, message, limit, actual };
      return this.#refuseForLimit(connection, id, "LIMIT_TOPICS", about);
    }
    const sendFds = this.#state.peek(connection, "send-fds", name);
    connection.openTopics.set(topic.id, {
      topic,
      mayPublish: true,
      messageBytesMax: this.#state.messageBytesMax(connection, name),
      sendFds,
      introducedTo: undefined,
    });
    this.#fdGate.set(connection, true);
    const body = openTopicAckBody({ topic: topic.id, sendFds: sendFds.allowed });
    this.#send(connection, { opcode: OPCODE.ACK, id: id, body });
  }

  /** A second CLOSE_TOPIC in one packet finds nothing to close any more. */
  #closeTopic(connection: Connection, topicId: number): void {
    const open = connection.openTopics.get(topicId);
    if (open === undefined) return;
    connection.openTopics.delete(topicId);
    this.#state.releaseTopic(connection, open.topic);
  }

  #subscribe(connection: Connection, id: number, wanted: Subscribe): void {
    const { pattern, group, overflow } = wanted;
    const flaw = checkPattern(pattern);
    if (flaw !== undefined) {
      const message = `Cannot subscribe: the pattern is malformed, ${flaw}`;
      return this.#refuse(connection, id, "REJECTED_PATTERN", message, {});
    }
    const decision = this.#state.decideSubscribe(connection, pattern);
    if (!decision.allowed) {
      return this.#deny(connection, id, "subscribe", pattern, decision.rule);
    }
    if (!this.#grantsWish(connection, id, wanted)) return;
    const wish = group === undefined && overflow === undefined ? undefined : { group, overflow };
    const excess = this.#state.subscribe(connection, pattern, wish);
    if (excess !== undefined) {
      const { limit, actual } = excess;
      const message = `Cannot subscribe to "${pattern}": ${excessWords(excess)}`;
      const about = { topic: pattern, message, limit, actual };
      return this.#refuseForLimit(connection, id, "LIMIT_SUBSCRIPTIONS", about);
    }
    const subscription = connection.nextSubscription();
    connection.subscriptions.set(subscription, pattern);
    if (wish !== undefined) connection.wishes.set(subscription, wish);
    const body = subscribeAckBody({ subscription });
    this.#send(connection, { opcode: OPCODE.ACK, id: id, body });
    if (group === undefined) this.#replay.begin(connection, subscription, pattern);
  }

  /** Whether a subscription may have the group and the overflow it asks for; refuses it where not. */
  #grantsWish(connection: Connection, id: number, wanted: Subscribe): boolean {
    const { pattern, group, overflow } = wanted;
    const flaw = group === undefined ? undefined : checkGroupName(group);
    if (flaw !== undefined) {
      const message = `Cannot join the queue group: ${flaw}`;
      this.#refuse(connection, id, "REJECTED_GROUP", message, {});
      return false;
    }
    const isOneMore = group !== undefined && !connection.groups.has(group);
    if (isOneMore && connection.groups.size >= GROUPS_PER_CONNECTION_MAX) {
      const actual = connection.groups.size;
      const limit = GROUPS_PER_CONNECTION_MAX;
      const why = `one connection is in no more than ${limit}`;
      const message = `Cannot join the queue group: ${why}`;
      const about = { topic: pattern, message, limit, actual };
      this.#refuseForLimit(connection, id, "LIMIT_SUBSCRIPTIONS", about);
      return false;
    }
    if (overflow !== "block") return true;
    const { granted, rule } = this.#state.blockGrantOf(pattern);
    if (granted) return true;
    const message = blockRefusalMessage(pattern, rule);
    this.#refuse(connection, id, "REJECTED_OVERFLOW", message, { topic: pattern, rule });
    return false;
  }

  #unsubscribe(connection: Connection, id: number, subscription: number): void {
    const pattern = connection.subscriptions.get(subscription);
    if (pattern === undefined) {
      const message = `Cannot unsubscribe: this connection has no subscription ${subscription}`;
      return this.#refuse(connection, id, "REJECTED_SUBSCRIPTION", message, {});
    }
    this.#state.unsubscribe(connection, pattern, connection.wishes.get(subscription));
    connection.subscriptions.delete(subscription);
    connection.wishes.delete(subscription);
    this.#send(connection, { opcode: OPCODE.ACK, id });
  }

  #sync(connection: Connection, id: number, waitsForFds: boolean): void {
    const { fdAccount } = connection;
    const answer = () => this.#answerSync(connection, id);
    if (fdAccount.waiting === 0) return answer();
    if (!waitsForFds) this.#fdSweep.lookAll();
    else {
      this.#fdSweep.watchAll();
      if (fdAccount.whenIdle(answer)) return;
    }
    answer();
  }

  #answerSync(connection: Connection, id: number): void {
    const counters = connection.takeCounters();
    const delivered = counters.matched - counters.dropped;
    const { fdAccount } = connection;
    const fds = { fdsWaiting: fdAccount.waiting, fdsExpired: fdAccount.takeExpired() };
    const body = syncAckBody({ ...counters, delivered, ...fds });
    this.#send(connection, { opcode: OPCODE.ACK, id: id, body });
  }

  #deny(
    connection: Connection,
    requestId: number,
    action: Action,
    topic: string,
    rule: string | undefined,
  ): void {
    const message = refusalMessage(connection.identity, action, topic, rule);
    this.#refuse(connection, requestId, "REJECTED_BY_POLICY", message, { topic, rule });
    const { identity } = connection;
    this.#onEvent({ type: "denied", connection: connection.id, identity, action, topic, rule });
  }

  #refuseForLimit(
    connection: Connection,
    requestId: number,
    code: LimitStatus,
    about: LimitFigures & { readonly topic: string; readonly message: string },
  ): void {
    const body = errorBody({ status: STATUS[code], ...about });
    this.#send(connection, { opcode: OPCODE.ERROR, id: requestId, body });
    const { id, identity } = connection;
    this.#onEvent({ type: "limited", connection: id, identity, code, ...about });
  }

  #refuse(
    connection: Connection,
    requestId: number,
    code: RejectedErrorCode,
    message: string,
    fields: { topic?: string; rule?: string | undefined },
  ): void {
    const body: ControlMap = errorBody({ status: STATUS[code as StatusName], message, ...fields });
    this.#send(connection, { opcode: OPCODE.ERROR, id: requestId, body });
  }
}

/** @throws {ProtocolError} PROTOCOL_REQUEST_ID where a request could not be answered */
export function checkRequestId(frame: ClientFrame): void {
  if (frame.id !== 0) return;
  const message = "Cannot answer request: its id is 0";
  throw new ProtocolError("PROTOCOL_REQUEST_ID", message, frame.offset);
}

/** An opcode that is well-formed and that nobody takes. */
export function unknownOpcode({ opcode, offset }: ClientFrame): ProtocolError {
  const message = `Cannot take opcode 0x${opcode.toString(16)}: this broker does not know it`;
  return new ProtocolError("PROTOCOL_OPCODE", message, offset);
}

/** Where the body of a frame starts, in bytes of its buffer. */
export function bodyStart(frame: ClientFrame): number {
  return frame.offset + FRAME_HEADER_BYTES;
}

/** The byte behind the body of a frame. */
export function bodyEnd(frame: ClientFrame): number {
  return frame.offset + frame.frameBytes;
}
