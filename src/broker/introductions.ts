/**
 * Tells clients what ids stand for, once each and before first use: TOPIC for topic ids, SENDER
 * and SENDER_GONE for connection ids. So a delivered message has a name and a kernel-attested
 * sender at no cost per message.
 */

import type { ControlMap } from "../protocol/control-body.ts";
import { senderBody, topicBody } from "../protocol/control-messages.ts";
import { SENDER_GROUPS_MAX } from "../protocol/limits.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import type { Connection } from "./connection.ts";
import type { PeerIdentity } from "./identity.ts";
import type { Topic } from "./topic-table.ts";

/** Queues one control frame for a connection; evicts it where not even that fits. */
export type ControlSender = (
  connection: Connection,
  frame: { opcode: number; flags?: number; id: number; body?: ControlMap },
) => void;

/** Keeps what each client was told. */
export class Introductions {
  readonly #send: ControlSender;

  constructor(send: ControlSender) {
    this.#send = send;
  }

  /** Makes sure that the client knows the name behind a topic's id. */
  introduceTopic(destination: Connection, topic: Topic): void {
    const known = destination.knownTopics.get(topic.id);
    if (known === topic) return;
    if (known !== undefined) destination.queue.forgetLostTopic(topic.id);
    destination.knownTopics.set(topic.id, topic);
    const body = topicBody({ topic: topic.name });
    this.#send(destination, { opcode: OPCODE.TOPIC, id: topic.id, body });
  }

  /** Makes sure that the client knows whose connection id stands on a message. */
  introduceSender(destination: Connection, sender: Connection): void {
    if (destination.knownSenders.has(sender)) return;
    destination.knownSenders.add(sender);
    sender.introducedTo.add(destination);
    this.tellSender(destination, sender.id, sender.identity);
  }

  /**
   * Tells whose connection id stands on a message, though that connection may be gone. Not kept:
   * tellGone() is to follow.
   */
  tellSender(destination: Connection, id: number, identity: PeerIdentity): void {
    const { uid, gid, pid, unit, exe } = identity;
    const groups = identity.groups.slice(0, SENDER_GROUPS_MAX);
    const body = senderBody({ uid, gid, pid, groups, unit, exe });
    this.#send(destination, { opcode: OPCODE.SENDER, id, body });
  }

  /** Tells that no message from a connection follows. */
  tellGone(destination: Connection, id: number): void {
    this.#send(destination, { opcode: OPCODE.SENDER_GONE, id });
  }

  /** Tells those who knew a connection that no message from it follows. */
  announceGone(sender: Connection, informed: readonly Connection[]): void {
    for (const destination of informed) {
      if (destination.state !== "OPEN") continue;
      this.tellGone(destination, sender.id);
    }
  }
}
