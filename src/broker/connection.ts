/**
 * What the broker knows of one connection. Data and small invariants only: routing is in
 * router.ts, requests in requests.ts, life and death in broker.ts.
 */

import { ProtocolError } from "../errors.ts";
import type { OwnedFd } from "../ffi/owned-fd.ts";
import type { OverflowPolicy } from "../protocol/words.ts";
import type { FdAccount } from "./fds/fds-in-flight.ts";
import type { Figures, ReceiverFigures } from "./figures/figures.ts";
import { IdSequence } from "./id-sequence.ts";
import type { PeerIdentity } from "./identity/identity.ts";
import type { Steps } from "./long-work/fair-steps.ts";
import type { Decision } from "./policy/decide.ts";
import type { ConnectionQuota } from "./quotas/quota.ts";
import type { UserTurn } from "./reading/user-turns.ts";
import type { Route } from "./routing/route.ts";
import type { Topic } from "./routing/topic-table.ts";
import type { SendQueue } from "./sending/send-queue.ts";
import type { CallFigures } from "./services/call-figures.ts";
import type { ConnectionServices } from "./services/connection-services.ts";

/** A topic that a connection has open, with the rights that the policy gives it there. */
export interface OpenTopic {
  readonly topic: Topic;
  /** False once a reload of the policy took the right away. */
  mayPublish: boolean;
  /** Bytes of the largest body that it may publish there. */
  messageBytesMax: number;
  /** May messages there carry fds, and by which rule. */
  sendFds: Decision;
  /** The route whose destinations have all been told who this sender is. */
  introducedTo: Route | undefined;
}

/** What a subscription asks for beside messages. */
export interface SubscriptionWish {
  readonly group: string | undefined;
  readonly overflow: OverflowPolicy | undefined;
}

/** A connection as member of one queue group. */
export interface GroupMember {
  readonly connection: Connection;
  readonly group: string;
  /** Its subscriptions in the group. */
  subscriptions: number;
}

/** Where a connection is in its life; named for what may come next. */
export type ConnectionState = "AWAIT_HELLO" | "OPEN" | "DOOMED";

const PUBLISH_COUNTERS = [
  "published",
  "matched",
  "dropped",
  "denied",
  "queued",
  "lostLater",
  "superseded",
] as const;

/** Figures that SYNC reports and starts again; docs/protocol.md section 4. */
export type PublishCounters = { [C in (typeof PUBLISH_COUNTERS)[number]]: number };

const NOTHING_PUBLISHED: Readonly<PublishCounters> = {
  published: 0,
  matched: 0,
  dropped: 0,
  denied: 0,
  queued: 0,
  lostLater: 0,
  superseded: 0,
};

/** One accepted socket. */
export class Connection {
  /** No other's while this one lives, and no later one's for long; others see it as origin. */
  readonly id: number;
  /** Place in the reactor's table, used again. */
  readonly slot: number;
  readonly socket: OwnedFd;
  readonly identity: PeerIdentity;
  readonly queue: SendQueue;
  /** What it holds of the broker, of all kinds. */
  readonly quota: ConnectionQuota;
  /** The fds that it has published and that are on their way; part of `quota`. */
  readonly fdAccount: FdAccount;
  /** Milliseconds on the broker's clock. */
  readonly acceptedAt: number;
  /** What SYNC has reported already. */
  settled: Readonly<PublishCounters> = NOTHING_PUBLISHED;
  /** Counted since it connected; figures.ts adds the others. */
  readonly figures: ReceiverFigures & Pick<Figures, "publishedBytes"> = {
    publishedBytes: 0,
    received: 0,
    receivedBytes: 0,
    missed: 0,
  };

  state: ConnectionState = "AWAIT_HELLO";
  /** The generation of the policy that its rights were computed from. */
  policyGeneration: number;
  /** What must be done before its next packet is handled; see chores.ts. */
  chore: Steps | undefined = undefined;
  lane: OwnedFd | undefined = undefined;
  /** Services that it calls, serves or watches; undefined until it asks for one. */
  services: ConnectionServices | undefined = undefined;
  /** Those of `services`, also when these are given up at its end. */
  callFigures: Readonly<CallFigures> | undefined = undefined;
  /** An administrator's, let in beyond the limits. */
  isExtra = false;
  /** The client can send fds: the kernel lets them through. See fd-gate.ts. */
  takesFds = false;
  /** The fd that epoll watches for EPOLLOUT because the queue waits for it; -1 for none. */
  watchedFd = -1;
  /** `watchedFd` is looked at for signs that the client takes fds, not for room. */
  awaitsTaking = false;
  /** The fd that is watched for signs that the client takes fds; -1 for none. */
  takingFd = -1;
  /** The broker is shutting down: what this client sends is not read any more. */
  isReadingStopped = false;
  /** Nothing is read from it until a subscriber that it publishes to has read on. */
  isHeld = false;
  /** It is to be told when it is held for long. */
  wantsHeldWord = false;
  /** Its socket is out of epoll: it ended while it was held. */
  isUnwatched = false;
  /** It has said that its program has enough to read for now. See isPausing. */
  wantsPause = false;
  /** It holds publishers back. */
  isHolding = false;
  /** Nothing is read from this client for now. */
  isReadingPaused = false;
  /** The broker's last turn in which this client was readable. */
  readInTurn = -1;
  /** There were many small packets of it, and no fds, when it was read last. */
  sendsMany = false;
  /** Its user, among those whose turn it may be; undefined until it is watched. */
  userTurn: UserTurn | undefined = undefined;
  /** What it has to say while it waits for its user's turn: EPOLL* bits and HAS_REST; else 0. */
  readyEvents = 0;
  /** It waits for that behind others of its user, and epoll does not tell of it meanwhile. */
  awaitsTurn = false;
  /** Stands in the reactor's list of queues to flush this turn. */
  isUnflushed = false;
  // Made when they are first asked for: most connections have no use for most of them.
  #counters: PublishCounters | undefined;
  #openTopics: Map<number, OpenTopic> | undefined;
  #subscriptions: Map<number, string> | undefined;
  #subscriptionNumbers: IdSequence | undefined;
  #wishes: Map<number, SubscriptionWish> | undefined;
  #groups: Map<string, GroupMember> | undefined;
  #knownTopics: Map<number, Topic> | undefined;
  #knownSenders: Set<Connection> | undefined;
  #introducedTo: Set<Connection> | undefined;

  constructor(fields: {
    id: number;
    slot: number;
    socket: OwnedFd;
    identity: PeerIdentity;
    queue: SendQueue;
    quota: ConnectionQuota;
    fdAccount: FdAccount;
    acceptedAt: number;
    policyGeneration: number;
  }) {
    this.id = fields.id;
    this.slot = fields.slot;
    this.socket = fields.socket;
    this.identity = fields.identity;
    this.queue = fields.queue;
    this.quota = fields.quota;
    this.fdAccount = fields.fdAccount;
    this.acceptedAt = fields.acceptedAt;
    this.policyGeneration = fields.policyGeneration;
  }

  /** What it published, and SYNC has not reported yet. */
  get counters(): PublishCounters {
    this.#counters ??= { ...NOTHING_PUBLISHED };
    return this.#counters;
  }

  /** The same, to be read alone: nothing is made for a connection that never published. */
  get countersSoFar(): Readonly<PublishCounters> {
    return this.#counters ?? NOTHING_PUBLISHED;
  }

  /** By topic id. */
  get openTopics(): Map<number, OpenTopic> {
    this.#openTopics ??= new Map();
    return this.#openTopics;
  }

  /** Patterns, by number. */
  get subscriptions(): Map<number, string> {
    this.#subscriptions ??= new Map();
    return this.#subscriptions;
  }

  /** Of the subscriptions, those that ask for something. */
  get wishes(): Map<number, SubscriptionWish> {
    this.#wishes ??= new Map();
    return this.#wishes;
  }

  /** The queue groups that it is in. */
  get groups(): Map<string, GroupMember> {
    this.#groups ??= new Map();
    return this.#groups;
  }

  /** Topic ids that this client was told, and what they stand for. */
  get knownTopics(): Map<number, Topic> {
    this.#knownTopics ??= new Map();
    return this.#knownTopics;
  }

  /** Connections that this client was told of. */
  get knownSenders(): Set<Connection> {
    this.#knownSenders ??= new Set();
    return this.#knownSenders;
  }

  /** Connections that were told of this one. */
  get introducedTo(): Set<Connection> {
    this.#introducedTo ??= new Set();
    return this.#introducedTo;
  }

  /**
   * Publishers on topics that it must miss nothing of wait until it says that it goes on. Only while
   * it is read from: it could not say so, and two that wait for each other would wait for ever.
   */
  get isPausing(): boolean {
    if (!this.wantsPause || this.isHeld) return false;
    return !this.isReadingPaused && !this.isReadingStopped && !this.queue.isAbandoned;
  }

  /** A number for a new subscription of this connection. */
  nextSubscription(): number {
    this.#subscriptionNumbers ??= new IdSequence();
    return this.#subscriptionNumbers.next((number) => this.subscriptions.has(number));
  }

  /** The counters since the last call, and a fresh start. */
  takeCounters(): PublishCounters {
    const taken = { ...this.counters };
    const settled = { ...this.settled };
    for (const name of PUBLISH_COUNTERS) {
      settled[name] += taken[name];
      this.counters[name] = 0;
    }
    this.settled = settled;
    return taken;
  }
}

/** @throws {ProtocolError} PROTOCOL_TOPIC_ID for an id that the connection has not opened */
export function openTopicOf(
  connection: Connection,
  topicId: number,
  byteOffset: number,
): OpenTopic {
  return connection.openTopics.get(topicId) ?? refuseTopicId(byteOffset);
}

/** @throws {ProtocolError} PROTOCOL_TOPIC_ID, always */
export function refuseTopicId(byteOffset: number): never {
  const message = `Cannot use topic at byte ${byteOffset}: its id is not open on this connection`;
  throw new ProtocolError("PROTOCOL_TOPIC_ID", message, byteOffset);
}
