/** Puts the parts of services together: requests, calls, channels, and who is told of changes. */

import type { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import type { Area, CarryOut, ClientFrame } from "../area.ts";
import type { Connection } from "../connection.ts";
import type { BrokerEventListener } from "../events.ts";
import type { FdBudget } from "../fds/fd-budget.ts";
import type { FdGate } from "../fds/fd-gate.ts";
import type { FdHost, FdIntake } from "../fds/fd-intake.ts";
import type { FdsInFlight } from "../fds/fds-in-flight.ts";
import type { Background } from "../long-work/background.ts";
import type { Deferred } from "../long-work/deferred.ts";
import type { Presence } from "../presence.ts";
import type { QueryProvider } from "../queries/query-provider.ts";
import { unknownOpcode } from "../requests/requests.ts";
import type { BusState } from "../routing/bus-state.ts";
import type { ControlSender, Introductions } from "../routing/introductions.ts";
import type { RouterHost } from "../routing/router.ts";
import { Answers } from "./answers.ts";
import { CallDelivery } from "./call-delivery.ts";
import { Calls } from "./calls.ts";
import { Channels } from "./channels.ts";
import { HeldWords } from "./held-words.ts";
import { LostFds } from "./lost-fds.ts";
import { MemberChoice } from "./member-choice.ts";
import { Ownership } from "./ownership.ts";
import type { CallCounters } from "./pending-calls.ts";
import { serviceProvider } from "./service-entries.ts";
import { ServiceRequests } from "./service-requests.ts";
import { ServiceTable } from "./service-table.ts";
import { ServiceWatch } from "./service-watch.ts";

/** What services are made with. */
export interface ServicesParts {
  readonly state: BusState;
  readonly introductions: Introductions;
  readonly intake: FdIntake;
  readonly fdGate: FdGate;
  readonly background: Background;
  readonly presence: Presence;
  readonly send: ControlSender;
  readonly onEvent: BrokerEventListener;
  readonly inFlight: FdsInFlight;
  readonly budget: FdBudget;
  readonly files: Pick<FdHost, "closeFd">;
  readonly deferred: Deferred;
  readonly host: RouterHost;
}

const DROPPED: CarryOut = () => {};

/** The services of one broker. */
export class Services implements Area {
  readonly opcodes: readonly number[];
  readonly #areas: readonly Area[];
  readonly #areaOf = new Map<number, Area>();
  readonly #calls: Calls;
  readonly #held: HeldWords;
  readonly #lostFds: LostFds;
  readonly #watch: ServiceWatch;
  /** Answers questions about services. */
  readonly provider: QueryProvider;

  constructor(parts: ServicesParts) {
    const answers = new Answers(parts.send, parts.onEvent);
    const table = new ServiceTable<Connection>(parts.state.topics);
    this.provider = serviceProvider({ state: parts.state, table });
    this.#held = new HeldWords(parts.send, parts.background);
    this.#watch = new ServiceWatch(parts);
    const delivery = new CallDelivery(parts);
    const ownership = new Ownership({ ...parts, table, watch: this.#watch });
    const shared = { table, watch: this.#watch, answers, ownership };
    const requests = new ServiceRequests({ ...parts, ...shared });
    const choice = new MemberChoice(parts.state, requests.refreshServed, ownership.settle);
    this.#calls = new Calls({ ...parts, choice, answers, delivery, held: this.#held });
    this.#lostFds = new LostFds(this.#calls, parts.budget);
    // When a connection ends its calls go first: they need what it served and called.
    const channels = new Channels({ ...parts, table, choice, answers });
    this.#areas = [this.#calls, requests, channels];
    this.opcodes = this.#areas.flatMap((area) => area.opcodes);
    for (const area of this.#areas) {
      for (const opcode of area.opcodes) this.#areaOf.set(opcode, area);
    }
  }

  /** What calls came to, since the start. */
  get counters(): Readonly<CallCounters> {
    return this.#calls.counters;
  }

  /** A packet of nothing but calls: see Calls.routePacket(). */
  routePacket(connection: Connection, buffer: PinnedBuffer, packetBytes: number): number {
    return this.#calls.routePacket(connection, buffer, packetBytes);
  }

  /** The fds of a packet could not be taken in: see LostFds.note(). */
  noteLostFds(connection: Connection, words: Uint32Array, packetBytes: number): number {
    return this.#lostFds.note(connection, words, packetBytes);
  }

  /**
   * Area. What a client sent that reads no more is dropped, ids and all: leave() has taken from it what
   * they stood for. Messages behind it still count.
   */
  read(connection: Connection, frame: ClientFrame): CarryOut {
    const area = this.#areaOf.get(frame.opcode);
    if (area === undefined) throw unknownOpcode(frame);
    return connection.queue.isAbandoned ? DROPPED : area.read(connection, frame);
  }

  /** Area */
  takesFds(connection: Connection): boolean {
    return this.#calls.takesFds(connection);
  }

  /** Area */
  *leave(connection: Connection): Generator<void, void> {
    for (const area of this.#areas) {
      const steps = area.leave(connection);
      if (steps !== undefined) yield* steps;
    }
  }

  /** Area */
  *refresh(connection: Connection): Generator<void, void> {
    for (const area of this.#areas) {
      const steps = area.refresh(connection);
      if (steps !== undefined) yield* steps;
    }
  }

  /** Tells clients what they had no room for before; to be called once a turn. */
  settle(): void {
    this.#held.settle();
    this.#watch.settle();
  }
}
