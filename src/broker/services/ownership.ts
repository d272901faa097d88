/**
 * Tells clients that they serve a service now, or do not any more, because of what others did: one
 * client may end the turn of thousands, or bring it. So that is done in steps. What a client was not
 * told yet can be seen from the tables, and it is told before anything that follows from it: before
 * its first request, and before its own next word about the service.
 */

import { OPCODE } from "../../protocol/opcodes.ts";
import { ownershipBody } from "../../protocol/service-messages.ts";
import type { Connection } from "../connection.ts";
import type { BrokerEventListener } from "../events.ts";
import type { FdGate } from "../fds/fd-gate.ts";
import type { Background } from "../long-work/background.ts";
import { RESOURCE } from "../quotas/quota.ts";
import type { ControlSender } from "../routing/introductions.ts";
import { ENTRIES_PER_STEP } from "../turn-limits.ts";
import type { OwnerChange, Service, ServiceTable } from "./service-table.ts";
import type { ServiceWatch } from "./service-watch.ts";

type BusService = Service<Connection>;

/** What it tells with. */
export interface OwnershipParts {
  readonly table: ServiceTable<Connection>;
  readonly watch: ServiceWatch;
  readonly fdGate: FdGate;
  readonly background: Background;
  readonly send: ControlSender;
  readonly onEvent: BrokerEventListener;
}

/** Tells owners. */
export class Ownership {
  readonly #parts: OwnershipParts;

  constructor(parts: OwnershipParts) {
    this.#parts = parts;
  }

  /**
   * Who serves a service has changed: those concerned are told, and those who watch.
   * @param causedBy the client that serves it since its own request, or does not any more
   */
  noteChange(causedBy: Connection, service: BusService, change: OwnerChange<Connection>): void {
    const { background, watch } = this.#parts;
    const steps = this.#tellAll(service, change);
    if (steps.next().done !== true) background.addForRights(causedBy.identity.uid, steps);
    watch.noteChange(service, causedBy);
  }

  /** A client serves, or serves no more, by its own wish or end; it is answered elsewhere. */
  noteOwn(connection: Connection, service: BusService, isOwner: boolean): void {
    const member = service.member(connection);
    if (member !== undefined) member.isTold = true;
    this.#report(connection, service, isOwner);
  }

  /** Makes sure that a client knows whether it serves a service that it offered to serve. */
  readonly settle = (client: Connection, service: BusService): void => {
    const { id } = service.topic;
    const member = service.member(client);
    if (member !== undefined) {
      if (member.isTold) return;
      member.isTold = true;
      this.#tell(client, service, true);
      this.#parts.fdGate.set(client, true);
    } else if (client.services?.served.get(id) === service && !service.isWaiting(client)) {
      client.services.served.delete(id);
      this.#tell(client, service, false);
      client.quota.release(RESOURCE.services, 1);
      client.quota.release(RESOURCE.topics, 1);
      this.#parts.table.release(service);
    }
  };

  *#tellAll(service: BusService, change: OwnerChange<Connection>): Generator<void, void> {
    let told = 0;
    for (const client of change.lost) {
      this.settle(client, service);
      if (++told % ENTRIES_PER_STEP === 0) yield;
    }
    for (const client of change.gained) {
      this.settle(client, service);
      if (++told % ENTRIES_PER_STEP === 0) yield;
    }
  }

  #tell(client: Connection, service: BusService, isOwner: boolean): void {
    const body = ownershipBody({ generation: service.generation, isOwner });
    this.#parts.send(client, { opcode: OPCODE.OWNERSHIP, id: service.topic.id, body });
    this.#report(client, service, isOwner);
  }

  #report({ id, identity }: Connection, service: BusService, isOwner: boolean): void {
    const topic = service.topic.name;
    const { generation } = service;
    const event = { connection: id, identity, topic, isOwner, generation };
    this.#parts.onEvent({ type: "service-owner", ...event });
  }
}
