/**
 * Tells watchers who serves what. A watcher gets the state as it is when its turn comes, so changes
 * that follow each other closely are told as one, by the newest generation. One that reads slowly is
 * told once its queue has room: it is never closed for what others do, and always ends up with the
 * newest state.
 */

import { SERVICE_OWNERS_TOLD_MAX } from "../../protocol/limits.ts";
import { OPCODE } from "../../protocol/opcodes.ts";
import { type ServiceBody, serviceBody } from "../../protocol/service-messages.ts";
import type { Connection } from "../connection.ts";
import type { Background } from "../long-work/background.ts";
import type { Presence } from "../presence.ts";
import type { BusState } from "../routing/bus-state.ts";
import type { ControlSender, Introductions } from "../routing/introductions.ts";
import { SEND_QUEUE_BYTES_MAX } from "../sending/limits.ts";
import type { Service } from "./service-table.ts";

type BusService = Service<Connection>;

/** What it tells with. */
export interface ServiceWatchParts {
  readonly state: BusState;
  readonly introductions: Introductions;
  readonly send: ControlSender;
  readonly background: Background;
  readonly presence: Pick<Presence, "isWanted" | "noteService">;
}

/** Tells watchers. */
export class ServiceWatch {
  readonly #parts: ServiceWatchParts;
  /** Services whose change will be told, in the background. */
  readonly #changed = new Set<BusService>();
  /** Watchers that were to be told, and had no room. */
  readonly #behind = new Map<Connection, Set<BusService>>();

  constructor(parts: ServiceWatchParts) {
    this.#parts = parts;
  }

  /** Who serves the service has changed, for what a client did. */
  noteChange(service: BusService, { identity }: Connection): void {
    const isWatched = service.watchers.size > 0 || this.#parts.presence.isWanted;
    if (!isWatched || this.#changed.has(service)) return;
    this.#changed.add(service);
    this.#parts.background.addNews(identity.uid, this.#tellAll(service));
  }

  /**
   * The state of a service, for a client that watches it from now on.
   * @returns its owners have been introduced to the client
   */
  snapshot(watcher: Connection, service: BusService): ServiceBody {
    service.watchers.set(watcher, service.generation);
    const owners: number[] = [];
    for (const owner of service.owners) {
      if (owners.length >= SERVICE_OWNERS_TOLD_MAX) break;
      this.#parts.introductions.introduceSender(watcher, owner);
      owners.push(owner.id);
    }
    return { generation: service.generation, owners, count: service.ownerCount };
  }

  /** Those that have room by now will be told, in the background. */
  settle(): void {
    if (this.#behind.size === 0) return;
    for (const [watcher, services] of this.#behind) {
      if (!hasRoom(watcher)) continue;
      this.#behind.delete(watcher);
      const { uid } = watcher.identity;
      this.#parts.background.addNews(uid, this.#tellBehind(watcher, services));
    }
  }

  /** The client does not watch the service any more. */
  forget(watcher: Connection, service: BusService): void {
    service.watchers.delete(watcher);
    this.#behind.get(watcher)?.delete(service);
  }

  /** The connection has ended, and watches nothing. */
  drop(watcher: Connection): void {
    this.#behind.delete(watcher);
  }

  *#tellAll(service: BusService): Generator<void, void> {
    this.#changed.delete(service);
    this.#parts.presence.noteService(service);
    for (const watcher of service.watchers.keys()) {
      this.#tell(watcher, service);
      yield;
    }
  }

  *#tellBehind(watcher: Connection, services: ReadonlySet<BusService>): Generator<void, void> {
    for (const service of services) {
      this.#tell(watcher, service);
      yield;
    }
  }

  #tell(watcher: Connection, service: BusService): void {
    const told = service.watchers.get(watcher);
    if (told === undefined || told >= service.generation) return;
    if (!this.#mayWatch(watcher, service)) return;
    if (!hasRoom(watcher)) {
      const services = this.#behind.get(watcher) ?? new Set();
      this.#behind.set(watcher, services.add(service));
      return;
    }
    const body = serviceBody(this.snapshot(watcher, service));
    this.#parts.send(watcher, { opcode: OPCODE.SERVICE, id: service.topic.id, body });
  }

  /** Its rights may be older than the policy; that one is gone it will be told in its turn. */
  #mayWatch(watcher: Connection, { topic }: BusService): boolean {
    const { state } = this.#parts;
    const { chore, policyGeneration } = watcher;
    if (chore === undefined && policyGeneration === state.policyGeneration) return true;
    return state.peek(watcher, "call", topic.name).allowed;
  }
}

function hasRoom({ queue }: Connection): boolean {
  return queue.queuedBytes < SEND_QUEUE_BYTES_MAX;
}
