/**
 * What clients ask for about services: to call one, to serve one, to be told who does. The questions
 * to the policy and the limits of one client stand here; who serves is service-table.ts's, and the
 * calls themselves are calls.ts's.
 */

import { ProtocolError } from "../../errors.ts";
import { OPCODE } from "../../protocol/opcodes.ts";
import {
  decodeOpenService,
  decodeServe,
  decodeUnserve,
  decodeUnwatch,
  decodeWatch,
  openServiceAckBody,
  type Serve,
  serveAckBody,
  watchAckBody,
} from "../../protocol/service-messages.ts";
import type { Area, CarryOut, ClientFrame } from "../area.ts";
import type { Connection } from "../connection.ts";
import type { FdGate } from "../fds/fd-gate.ts";
import { type Excess, excessOf, excessWords } from "../quotas/excess.ts";
import { RESOURCE } from "../quotas/quota.ts";
import { bodyEnd, bodyStart, checkRequestId, unknownOpcode } from "../requests/requests.ts";
import type { BusState } from "../routing/bus-state.ts";
import { TOPICS_MAX } from "../routing/limits.ts";
import { ENTRIES_PER_STEP } from "../turn-limits.ts";
import type { Answers } from "./answers.ts";
import { ConnectionServices, type OpenService } from "./connection-services.ts";
import type { Ownership } from "./ownership.ts";
import { type OwnerChange, Service, type ServiceTable } from "./service-table.ts";
import type { ServiceWatch } from "./service-watch.ts";

type BusService = Service<Connection>;

/** What they are carried out with. */
export interface ServiceRequestsParts {
  readonly state: BusState;
  readonly table: ServiceTable<Connection>;
  readonly watch: ServiceWatch;
  readonly ownership: Ownership;
  readonly answers: Answers;
  readonly fdGate: FdGate;
}

/** Carries out requests about services. */
export class ServiceRequests implements Area {
  readonly opcodes = [
    OPCODE.OPEN_SERVICE,
    OPCODE.CLOSE_SERVICE,
    OPCODE.SERVE,
    OPCODE.UNSERVE,
    OPCODE.WATCH,
    OPCODE.UNWATCH,
  ];
  readonly #parts: ServiceRequestsParts;

  constructor(parts: ServiceRequestsParts) {
    this.#parts = parts;
  }

  /** Area */
  read(connection: Connection, frame: ClientFrame): CarryOut {
    const { opcode, id, bytes, offset } = frame;
    if (opcode === OPCODE.CLOSE_SERVICE) {
      if (connection.services?.open.has(id) !== true) throw notOpen(offset);
      return () => this.#close(connection, id, offset);
    }
    checkRequestId(frame);
    const start = bodyStart(frame);
    const end = bodyEnd(frame);
    switch (opcode) {
      case OPCODE.OPEN_SERVICE: {
        const { service } = decodeOpenService(bytes, start, end);
        return () => this.#open(connection, id, service);
      }
      case OPCODE.SERVE: {
        const request = decodeServe(bytes, start, end);
        return () => this.#serve(connection, id, request);
      }
      case OPCODE.UNSERVE: {
        const { service } = decodeUnserve(bytes, start, end);
        return () => this.#unserve(connection, id, service);
      }
      case OPCODE.WATCH: {
        const { service } = decodeWatch(bytes, start, end);
        return () => this.#watch(connection, id, service);
      }
      case OPCODE.UNWATCH: {
        const { service } = decodeUnwatch(bytes, start, end);
        return () => this.#unwatch(connection, id, service);
      }
      default:
        throw unknownOpcode(frame);
    }
  }

  /** Area: the connection's calls have ended before. */
  *leave(connection: Connection): Generator<void, void> {
    const { services } = connection;
    if (services === undefined) return;
    const { watch } = this.#parts;
    let left = 0;
    for (const service of services.served.values()) {
      this.#dropServed(connection, service);
      if (++left % ENTRIES_PER_STEP === 0) yield;
    }
    for (const service of services.watched.values()) {
      this.#dropWatched(connection, service);
      if (++left % ENTRIES_PER_STEP === 0) yield;
    }
    for (const [id, { service }] of services.open) {
      services.open.delete(id);
      this.#release(connection, service);
      if (++left % ENTRIES_PER_STEP === 0) yield;
    }
    watch.drop(connection);
    connection.services = undefined;
  }

  /** Area */
  *refresh(connection: Connection): Generator<void, void> {
    const { services } = connection;
    if (services === undefined) return;
    let looked = 0;
    for (const service of services.served.values()) {
      this.refreshServed(connection, service);
      if (++looked % ENTRIES_PER_STEP === 0) yield;
    }
    for (const service of services.watched.values()) {
      this.#refreshWatched(connection, service);
      if (++looked % ENTRIES_PER_STEP === 0) yield;
    }
    for (const open of services.open.values()) {
      this.#refreshOpen(connection, open);
      if (++looked % ENTRIES_PER_STEP === 0) yield;
    }
  }

  /** Takes a service from a connection that serves it, or waits to, where it may not any more. */
  readonly refreshServed = (connection: Connection, service: BusService): void => {
    const { state, answers } = this.#parts;
    const { id, name } = service.topic;
    if (connection.state === "DOOMED") return;
    const decision = state.decide(connection, "serve", name);
    if (decision.allowed) return;
    this.#dropServed(connection, service);
    answers.revoke(connection, id, "serve", name, decision.rule);
  };

  #refreshOpen(connection: Connection, open: OpenService): void {
    const { state, answers } = this.#parts;
    const { id, name } = open.service.topic;
    if (connection.state === "DOOMED") return;
    const call = state.decide(connection, "call", name);
    const sendFds = state.peek(connection, "send-fds", name);
    if (open.call.allowed && !call.allowed) {
      answers.revoke(connection, id, "call", name, call.rule);
    }
    if (open.sendFds.allowed && !sendFds.allowed) {
      answers.revoke(connection, id, "send-fds", name, sendFds.rule);
    }
    open.call = call;
    open.sendFds = sendFds;
    open.messageBytesMax = state.messageBytesMax(connection, name);
  }

  #refreshWatched(connection: Connection, service: BusService): void {
    const { state, answers } = this.#parts;
    const { id, name } = service.topic;
    if (connection.state === "DOOMED") return;
    const decision = state.decide(connection, "call", name);
    if (decision.allowed) return;
    // The same is told of a service that is open, too.
    const isTold = connection.services?.open.get(id)?.call.allowed === true;
    if (!isTold) answers.revoke(connection, id, "call", name, decision.rule);
    this.#dropWatched(connection, service);
  }

  #open(connection: Connection, id: number, name: string): void {
    const { state, table, answers, fdGate } = this.#parts;
    if (!answers.acceptsName(connection, id, name, "open service")) return;
    const known = table.find(name);
    const open = known && connection.services?.open.get(known.topic.id);
    if (open?.call.allowed === true) {
      const body = { service: open.service.topic.id, sendFds: open.sendFds.allowed };
      return answers.grant(connection, id, openServiceAckBody(body));
    }
    const call = state.decide(connection, "call", name);
    if (!call.allowed) return answers.deny(connection, id, "call", name, call.rule);
    const service = open?.service ?? this.#hold(connection, name);
    if (!(service instanceof Service)) {
      const about = { topic: name, cannot: `Cannot open service "${name}"` };
      const why = excessWords(service);
      return answers.fail(connection, id, about, { code: "LIMIT_TOPICS", why, figures: service });
    }
    const sendFds = state.peek(connection, "send-fds", name);
    const messageBytesMax = state.messageBytesMax(connection, name);
    const rights = { call, sendFds, messageBytesMax };
    this.#servicesOf(connection).open.set(service.topic.id, { service, ...rights });
    fdGate.set(connection, true);
    const body = { service: service.topic.id, sendFds: sendFds.allowed };
    answers.grant(connection, id, openServiceAckBody(body));
  }

  #close(connection: Connection, serviceId: number, offset: number): void {
    const open = connection.services?.open.get(serviceId);
    if (open === undefined) throw notOpen(offset);
    connection.services?.open.delete(serviceId);
    this.#release(connection, open.service);
  }

  #serve(connection: Connection, id: number, request: Serve): void {
    const { state, table, answers, ownership } = this.#parts;
    const { service: name, channels = false } = request;
    if (!answers.acceptsName(connection, id, name, "serve")) return;
    const decision = state.decide(connection, "serve", name);
    if (!decision.allowed) return answers.deny(connection, id, "serve", name, decision.rule);
    const before = table.find(name);
    if (before !== undefined) ownership.settle(connection, before);
    // It is forgotten where that was its last use.
    const known = table.find(name);
    const member = known?.member(connection);
    if (known !== undefined && member !== undefined) {
      member.takesChannels = channels;
      return this.#ackServe(connection, id, known);
    }
    const isWaiting = known?.isWaiting(connection) === true;
    const service = isWaiting ? known : this.#tie(connection, id, name);
    if (service === undefined) return;
    const isPlaced = this.#place(connection, id, service, request);
    if (!isWaiting && !isPlaced) this.#untie(connection, service);
  }

  /** @returns whether the client serves or waits now; where not, it was told why */
  #place(connection: Connection, id: number, service: BusService, request: Serve): boolean {
    const { state, answers } = this.#parts;
    const { service: name, shared = false, channels = false, ifOwned = "fail" } = request;
    const claim = { shared, channels };
    if (service.hasRoomFor(claim)) {
      service.join(connection, claim);
      this.#begin(connection, id, service, { gained: [], lost: [] });
    } else if (ifOwned === "replace") {
      const decision = state.decide(connection, "replace", name);
      if (!decision.allowed) {
        answers.deny(connection, id, "replace", name, decision.rule);
        return service.isWaiting(connection);
      }
      this.#begin(connection, id, service, service.replace(connection, claim));
    } else if (ifOwned === "queue" || service.isWaiting(connection)) {
      if (!service.isWaiting(connection)) service.wait(connection, claim);
      this.#servicesOf(connection).served.set(service.topic.id, service);
      this.#ackServe(connection, id, service);
    } else {
      const message = `Cannot serve "${name}": somebody else serves it`;
      answers.refuse(connection, id, "REJECTED_SERVICE_OWNED", message, { topic: name });
      return false;
    }
    return true;
  }

  /** A client has come to serve by its own request. */
  #begin(
    connection: Connection,
    id: number,
    service: BusService,
    change: OwnerChange<Connection>,
  ): void {
    this.#servicesOf(connection).served.set(service.topic.id, service);
    this.#parts.fdGate.set(connection, true);
    this.#ackServe(connection, id, service);
    this.#parts.ownership.noteOwn(connection, service, true);
    this.#parts.ownership.noteChange(connection, service, change);
  }

  #ackServe(connection: Connection, id: number, service: BusService): void {
    const isOwner = service.member(connection) !== undefined;
    const { generation } = service;
    const body = serveAckBody({ service: service.topic.id, generation, isOwner });
    this.#parts.answers.grant(connection, id, body);
  }

  #unserve(connection: Connection, id: number, serviceId: number): void {
    const { answers } = this.#parts;
    const service = connection.services?.served.get(serviceId);
    if (service === undefined) return this.#refuseNumber(connection, id, serviceId, "serve");
    this.#dropServed(connection, service);
    answers.grant(connection, id);
  }

  #watch(connection: Connection, id: number, name: string): void {
    const { state, table, watch, answers } = this.#parts;
    if (!answers.acceptsName(connection, id, name, "watch")) return;
    const decision = state.decide(connection, "call", name);
    if (!decision.allowed) return answers.deny(connection, id, "call", name, decision.rule);
    const known = table.find(name);
    const isWatched = known?.watchers.has(connection) === true;
    const service = isWatched ? known : this.#tie(connection, id, name);
    if (service === undefined) return;
    this.#servicesOf(connection).watched.set(service.topic.id, service);
    const body = { service: service.topic.id, ...watch.snapshot(connection, service) };
    answers.grant(connection, id, watchAckBody(body));
  }

  #unwatch(connection: Connection, id: number, serviceId: number): void {
    const { answers } = this.#parts;
    const service = connection.services?.watched.get(serviceId);
    if (service === undefined) return this.#refuseNumber(connection, id, serviceId, "watch");
    this.#dropWatched(connection, service);
    answers.grant(connection, id);
  }

  /** A client serves no more, or does not wait any more, and lets go of the service. */
  #dropServed(connection: Connection, service: BusService): void {
    this.#parts.ownership.settle(connection, service);
    // It had lost the service, and did not know it yet.
    if (connection.services?.served.delete(service.topic.id) !== true) return;
    this.#stopServing(connection, service);
    this.#untie(connection, service);
  }

  #dropWatched(connection: Connection, service: BusService): void {
    connection.services?.watched.delete(service.topic.id);
    this.#parts.watch.forget(connection, service);
    this.#untie(connection, service);
  }

  #stopServing(connection: Connection, service: BusService): void {
    const { ownership } = this.#parts;
    const wasOwner = service.member(connection) !== undefined;
    const change = service.leave(connection);
    if (!wasOwner || change === undefined) return;
    ownership.noteOwn(connection, service, false);
    ownership.noteChange(connection, service, change);
  }

  #servicesOf(connection: Connection): ConnectionServices {
    connection.services ??= new ConnectionServices();
    connection.callFigures ??= connection.services.figures;
    return connection.services;
  }

  /** Charges a client for one use of a service. @returns it, or the limit that leaves no room */
  #hold({ quota }: Connection, name: string): BusService | Excess {
    const { state, table } = this.#parts;
    if (!quota.charge(RESOURCE.topics, 1)) return excessOf(quota, "topics");
    const service = table.hold(name);
    if (service !== undefined) return service;
    quota.release(RESOURCE.topics, 1);
    return { resource: "topics", actual: state.topics.size, limit: TOPICS_MAX };
  }

  /** Takes back what #hold() gave. */
  #release({ quota }: Connection, service: BusService): void {
    quota.release(RESOURCE.topics, 1);
    this.#parts.table.release(service);
  }

  /** One more service that a client serves or watches. @returns undefined where it was refused */
  #tie(connection: Connection, id: number, topic: string): BusService | undefined {
    const { quota } = connection;
    if (!quota.charge(RESOURCE.services, 1)) {
      this.#refuseTie(connection, id, topic, excessOf(quota, "services"));
      return undefined;
    }
    const held = this.#hold(connection, topic);
    if (held instanceof Service) return held;
    quota.release(RESOURCE.services, 1);
    this.#refuseTie(connection, id, topic, held);
    return undefined;
  }

  /** Takes back what #tie() gave. */
  #untie(connection: Connection, service: BusService): void {
    connection.quota.release(RESOURCE.services, 1);
    this.#release(connection, service);
  }

  #refuseTie(connection: Connection, id: number, topic: string, figures: Excess): void {
    const about = { topic, cannot: `Cannot serve or watch "${topic}"` };
    const why = excessWords(figures);
    this.#parts.answers.fail(connection, id, about, { code: "LIMIT_SERVICES", why, figures });
  }

  #refuseNumber(connection: Connection, id: number, serviceId: number, verb: string): void {
    const message = `Cannot stop: this connection does not ${verb} service ${serviceId}`;
    this.#parts.answers.refuse(connection, id, "REJECTED_SERVICE", message);
  }
}

function notOpen(offset: number): ProtocolError {
  const message = `Cannot close service at byte ${offset}: its id is not open on this connection`;
  return new ProtocolError("PROTOCOL_TOPIC_ID", message, offset);
}
