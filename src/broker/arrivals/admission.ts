/**
 * From an accepted socket to a connection: who it is, whether there is room for it, and what it starts
 * with. What becomes of those that are refused is sessions.ts's.
 */

import { SyscallError } from "../../errors.ts";
import { sendPacketWithFds } from "../../ffi/ancillary.ts";
import { OwnedFd } from "../../ffi/owned-fd.ts";
import { sendPacket } from "../../ffi/seqpacket.ts";
import { sendPacketsWithFds } from "../../ffi/several-records.ts";
import { countUnreadRecords } from "../../ffi/unread-records.ts";
import { Connection } from "../connection.ts";
import type { ConnectionTable } from "../connection-table.ts";
import { type Cause, noFilesLeft, notOwner, tooManyConnections } from "../departures/endings.ts";
import { setSendBuffer } from "../departures/last-word.ts";
import type { BrokerEventListener } from "../events.ts";
import type { FdBudget } from "../fds/fd-budget.ts";
import type { PacketSink } from "../fds/fd-outlet.ts";
import type { FdsInFlight, RefusedFdsListener } from "../fds/fds-in-flight.ts";
import type { SpareFds } from "../fds/spare-fds.ts";
import { type IdentityOptions, type PeerIdentity, readPeerIdentity } from "../identity/identity.ts";
import { IdentityPool } from "../identity/identity-pool.ts";
import { type Quotas, RESOURCE } from "../quotas/quota.ts";
import type { Administration } from "../requests/administration.ts";
import type { LaterLoss } from "../sending/loss-tally.ts";
import { PacketPool } from "../sending/packet-pool.ts";
import { SendQueue } from "../sending/send-queue.ts";
import type { SocketWatch } from "../socket-watch.ts";

const SINK: PacketSink = {
  sendPacket,
  sendPacketWithFds,
  sendPacketsWithFds,
  countUnreadRecords,
};

/** What connections are made with. */
export interface AdmissionParts {
  readonly table: ConnectionTable;
  readonly budget: FdBudget;
  readonly quotas: Quotas;
  readonly inFlight: FdsInFlight;
  readonly administration: Pick<Administration, "isAdministrator">;
  /** The generation of the policy in force. */
  readonly policyGeneration: () => number;
  readonly options: AdmissionOptions;
}

/** Choices for one broker. */
export interface AdmissionOptions {
  /** The broker's effective uid. */
  readonly ownUid: number;
  /** Serve the broker's own uid alone, for want of a policy file. */
  readonly servesOwnUidOnly: boolean;
  /** How identities are read. */
  readonly identity: IdentityOptions;
  readonly watch: SocketWatch;
  /** For administrators, where the process may open no more. */
  readonly spareFds: SpareFds;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly onEvent: BrokerEventListener;
}

/** A connection that stands in all tables. */
export interface Admitted {
  readonly connection: Connection;
  /** Why it is to be ended; undefined where it may stay. */
  readonly refusal: Cause | undefined;
  /** Another one of its user that is to be ended for it. */
  readonly evicted: Connection | undefined;
}

/** Makes connections. */
export class Admission {
  readonly #parts: AdmissionParts;
  readonly #pool = new PacketPool();
  readonly #identities = new IdentityPool();

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
  }

  /** Bytes that wait for slow readers and are charged to them. */
  get backlogBytes(): number {
    return this.#pool.backlogBytes;
  }

  /**
   * Makes a connection of an accepted socket, also where it is to be refused.
   * @param fd owned by the connection from here on
   * @param administratorsOnly refuse all others, as there is no room
   * @throws {SyscallError} where the kernel does not say who it is; the socket is closed then
   */
  admit(fd: number, administratorsOnly: boolean): Admitted {
    const { table, budget, options } = this.#parts;
    const socket = OwnedFd.adopt(fd);
    let connection: Connection | undefined;
    try {
      const { identity, tookSpareFds } = this.#identify(fd);
      setSendBuffer(fd);
      const isExhausted = administratorsOnly || tookSpareFds || !budget.hasRoomForConnection();
      connection = this.#makeConnection(socket, this.#identities.intern(identity));
      const lack = this.#lackOfRoomFor(connection, isExhausted);
      options.watch.add(connection);
      const evicted = table.add(connection);
      budget.addConnection();
      return { connection, refusal: this.#refusalOf(connection, lack), evicted };
    } catch (error) {
      connection?.quota.close();
      socket.close();
      throw error;
    }
  }

  /** Finding out who it is takes an fd or two for a moment. */
  #identify(fd: number): { identity: PeerIdentity; tookSpareFds: boolean } {
    const { identity: options, spareFds } = this.#parts.options;
    try {
      return { identity: readPeerIdentity(fd, options), tookSpareFds: false };
    } catch (error) {
      if (!(error instanceof SyscallError) || !spareFds.areEnough) throw error;
      const identity = spareFds.lend(() => readPeerIdentity(fd, options));
      return { identity, tookSpareFds: true };
    }
  }

  #makeConnection(socket: OwnedFd, identity: PeerIdentity): Connection {
    const { table, quotas, inFlight, options, policyGeneration } = this.#parts;
    const place = table.nextPlace();
    const client = { id: place.id, identity };
    const outletHost = inFlight.outletHost(client, this.#tellUndelivered);
    const quota = quotas.open(identity.uid);
    const queue = new SendQueue(socket.number, SINK, this.#pool.open(quota), outletHost);
    queue.onLost = this.#bookLoss;
    return new Connection({
      ...place,
      socket,
      identity,
      queue,
      quota,
      fdAccount: inFlight.account(quota),
      acceptedAt: options.now(),
      policyGeneration: policyGeneration(),
    });
  }

  readonly #tellUndelivered: RefusedFdsListener = ({ id, identity }, reason, fds) =>
    this.#parts.options.onEvent({
      type: "fds-undelivered",
      connection: id,
      identity,
      reason,
      fds,
    });

  /** Who published what a queue has lost is told at its next SYNC, unless it is gone. */
  readonly #bookLoss = ({ origin, lostLater, superseded }: Readonly<LaterLoss>): void => {
    const publisher = this.#parts.table.withId(origin);
    if (publisher === undefined) return;
    publisher.counters.lostLater += lostLater;
    publisher.counters.superseded += superseded;
  };

  /** Why there is no room for a connection that does not stand in the tables yet. */
  #lackOfRoomFor({ identity, quota }: Connection, isExhausted: boolean): Cause | undefined {
    if (isExhausted) return noFilesLeft(this.#parts.budget.figures);
    const limit = quota.user.limit(RESOURCE.connections);
    const excess = this.#parts.table.excessFor(identity.uid, limit);
    return excess && tooManyConnections(excess);
  }

  #refusalOf(connection: Connection, lack: Cause | undefined): Cause | undefined {
    const { ownUid, servesOwnUidOnly } = this.#parts.options;
    const { uid } = connection.identity;
    if (lack !== undefined && !this.#isAdmittedBeyond(connection)) return lack;
    return servesOwnUidOnly && uid !== ownUid ? notOwner(uid) : undefined;
  }

  /** Administrators are let in also where all others are told that there is no room. */
  #isAdmittedBeyond(connection: Connection): boolean {
    const { table, administration, budget } = this.#parts;
    if (!administration.isAdministrator(connection.identity)) return false;
    if (!table.keepExtra(connection)) return false;
    budget.removeConnection();
    return true;
  }
}
