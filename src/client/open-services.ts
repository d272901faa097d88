/**
 * The services that calls go to, by name: a program that makes up names as it goes must not keep every
 * one of them open at the broker. Asking for them and closing them is calls.ts's.
 *
 * To know which was called longest ago would cost each call more than it is worth. So a call leaves a
 * mark, and who looks for a service to close passes those that have one, and takes it from them.
 */

import { OPEN_SERVICES_MAX } from "./limits.ts";
import type { OpenCall } from "./open-call.ts";

/** A service that is open on this connection, or asked for, or waits to be. */
export class OpenedService {
  readonly name: string;
  /** 0 until the broker has answered. */
  id = 0;
  /** Calls that wait for that, or for somebody who serves it; it stays while there are any. */
  readonly held = new Set<OpenCall>();
  /** Ends the wait for somebody who serves it. */
  absence: AbortController | undefined;
  /** It was called again since it was looked at last. For OpenServices alone, like the three below. */
  isMarked = false;
  list: ServiceList | undefined;
  before: OpenedService | undefined;
  behind: OpenedService | undefined;

  constructor(name: string) {
    this.name = name;
  }
}

/** Services in order. Linked, since a Map is slow where what is oldest is removed again and again. */
class ServiceList {
  first: OpenedService | undefined;
  last: OpenedService | undefined;
  count = 0;

  /** Takes a service from wherever it is. */
  push(service: OpenedService): void {
    service.list?.remove(service);
    service.list = this;
    service.before = this.last;
    if (this.last === undefined) this.first = service;
    else this.last.behind = service;
    this.last = service;
    this.count += 1;
  }

  remove(service: OpenedService): void {
    const { before, behind } = service;
    if (before === undefined) this.first = behind;
    else before.behind = behind;
    if (behind === undefined) this.last = before;
    else behind.before = before;
    service.list = undefined;
    service.before = undefined;
    service.behind = undefined;
    this.count -= 1;
  }
}

/** Services by name. */
export class OpenServices {
  readonly #services = new Map<string, OpenedService>();
  /** Those that were asked for on this connection. */
  readonly #asked = new ServiceList();
  /** Those that are to be asked for when there is room. */
  readonly #waiting = new ServiceList();
  #askedMax = OPEN_SERVICES_MAX;

  /** The service of this name, used now. */
  use(name: string): OpenedService | undefined {
    const service = this.#services.get(name);
    if (service !== undefined) service.isMarked = true;
    return service;
  }

  /** The service of this name, not used by that. */
  find(name: string): OpenedService | undefined {
    return this.#services.get(name);
  }

  /** Every service. */
  values(): IterableIterator<OpenedService> {
    return this.#services.values();
  }

  /** A service that waits to be asked for. */
  add(name: string): OpenedService {
    const service = new OpenedService(name);
    this.#services.set(name, service);
    this.#waiting.push(service);
    return service;
  }

  /** Which one is to be asked for next, whether there is room or not. */
  get nextWaiting(): OpenedService | undefined {
    return this.#waiting.first;
  }

  /** Whether another one may be asked for without closing any. */
  get hasRoom(): boolean {
    return this.#asked.count < this.#askedMax;
  }

  /** It is asked for. */
  noteAsked(service: OpenedService): void {
    this.#asked.push(service);
  }

  /**
   * The broker had no room for one.
   * @returns whether it is to be asked for again: there are others, which can be closed once no call
   *   waits for them
   */
  noteRefused(service: OpenedService): boolean {
    const others = this.#asked.count - 1;
    if (others === 0 || service.held.size === 0) return false;
    this.#askedMax = others;
    this.#waiting.push(service);
    return true;
  }

  /** Whether it waits to be asked for. */
  isWaiting(service: OpenedService): boolean {
    return service.list === this.#waiting;
  }

  /** Forgets one. */
  forget(service: OpenedService): void {
    service.id = 0;
    service.list?.remove(service);
    if (this.#services.get(service.name) === service) this.#services.delete(service.name);
  }

  /**
   * Forgets one that was not called for long, of those that no call waits for.
   * @returns its id; undefined where there is none
   */
  takeIdle(): number | undefined {
    let service = this.#asked.first;
    while (service !== undefined) {
      const { id, held, isMarked } = service;
      if (id !== 0 && held.size === 0 && !isMarked) {
        this.forget(service);
        return id;
      }
      const next: OpenedService | undefined = service.behind;
      if (isMarked) this.#passOver(service);
      // The last one has its turn again, without its mark.
      service = next ?? (isMarked ? service : undefined);
    }
    return undefined;
  }

  #passOver(service: OpenedService): void {
    service.isMarked = false;
    this.#asked.push(service);
  }

  /** The connection is lost: those stay that calls wait for, to be asked for again. */
  reset(): void {
    this.#askedMax = OPEN_SERVICES_MAX;
    for (const service of [...this.#services.values()]) {
      service.id = 0;
      if (service.held.size === 0) this.forget(service);
      else this.#waiting.push(service);
    }
  }

  /** Forgets all. @returns them */
  clear(): OpenedService[] {
    const all = [...this.#services.values()];
    for (const service of all) this.forget(service);
    return all;
  }
}
