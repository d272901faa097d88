/**
 * Tells clients what ids stand for, once each and before first use: TOPIC for topic ids, SENDER
 * and SENDER_GONE for connection ids. So a delivered message has a name and a kernel-attested
 * sender at no cost per message.
 */

import type { ControlMap } from "../../protocol/control-body.ts";
import { senderBody, topicBody } from "../../protocol/control-messages.ts";
import { SENDER_GROUPS_MAX } from "../../protocol/limits.ts";
import { OPCODE } from "../../protocol/opcodes.ts";
import type { Connection } from "../connection.ts";
import type { PeerIdentity } from "../identity/identity.ts";
import { ENTRIES_PER_STEP } from "../turn-limits.ts";
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

  /**
   * Makes sure that the client knows the name behind a topic's id. One that loses messages is not
   * told: names must not fill what is left for control frames, and what it does not get needs none.
   * @returns whether it knows it; where not, its messages are lost to it until it does
   */
  introduceTopic(destination: Connection, topic: Topic): boolean {
    const known = destination.knownTopics.get(topic.id);
    if (known === topic) return true;
    if (known !== undefined) destination.queue.losses.forgetTopic(topic.id);
    if (!destination.queue.takesName(topic.id)) {
      destination.knownTopics.delete(topic.id);
      destination.queue.losses.hide(topic.id);
      return false;
    }
    destination.queue.losses.reveal(topic.id);
    destination.knownTopics.set(topic.id, topic);
    const body = topicBody({ topic: topic.name, group: topic.group });
    this.#send(destination, { opcode: OPCODE.TOPIC, id: topic.id, body });
    return true;
  }

  /** Of a route that is computed anew: those who cannot be told now are remembered for tellLate(). */
  readonly introduceTopicOf = (destination: Connection, topic: Topic): void => {
    if (this.introduceTopic(destination, topic)) return;
    topic.untold ??= [];
    topic.untold.push(destination);
  };

  /** Some destinations had no room for the name of a topic; they may have by now. */
  tellLate(topic: Topic): void {
    const untold = topic.untold?.filter((destination) => !this.introduceTopic(destination, topic));
    topic.untold = untold?.length === 0 ? undefined : untold;
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

  /**
   * Forgets a connection that is in no other table any more, and tells those who knew it that no
   * message from it follows. In steps.
   */
  *leave(connection: Connection): Generator<void, void> {
    const { knownSenders, introducedTo } = connection;
    let left = 0;
    for (const sender of knownSenders) {
      sender.introducedTo.delete(connection);
      knownSenders.delete(sender);
      if (++left % ENTRIES_PER_STEP === 0) yield;
    }
    for (const destination of introducedTo) {
      introducedTo.delete(destination);
      destination.knownSenders.delete(connection);
      if (destination.state === "OPEN") this.tellGone(destination, connection.id);
      if (++left % ENTRIES_PER_STEP === 0) yield;
    }
  }
}
