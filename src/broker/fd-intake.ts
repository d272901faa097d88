/**
 * Messages with fds, on their way in: whether the sender may send fds, whether the topic takes fds of
 * these kinds, and what the sender is told where not. Each fd is looked at once, before the first
 * subscriber gets any. A message that is refused is refused whole, and all its fds are closed.
 */

import type { FoundFdKind } from "../fd-kinds.ts";
import { errorBody } from "../protocol/control-messages.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import { STATUS } from "../protocol/status-codes.ts";
import type { BusState } from "./bus-state.ts";
import type { Connection, OpenTopic } from "./connection.ts";
import type { BrokerEventListener } from "./events.ts";
import { FdBundle } from "./fd-bundle.ts";
import { findRefusedFd, type RefusedFd } from "./fd-rules.ts";
import type { ControlSender } from "./introductions.ts";
import type { ReceivedPacket } from "./packet-handler.ts";
import { fdKindMessage, refusalMessage } from "./refusal.ts";
import type { Router } from "./router.ts";

/** The kernel, for fds of clients. */
export interface FdHost {
  /** Closes one fd of a client, which the broker owns. */
  closeFd(fd: number): void;
  /** The kind of one fd, borrowed; `tellsReadOnly` as for fdKind(). Must not wait. */
  kindOfFd(fd: number, tellsReadOnly: boolean): FoundFdKind;
  /** Whether an fd, borrowed, is a socket of AF_UNIX. */
  isUnixSocket(fd: number): boolean;
}

/** What an intake is made from. */
export interface FdIntakeParts {
  readonly state: BusState;
  readonly router: Router;
  readonly send: ControlSender;
  readonly onEvent: BrokerEventListener;
  readonly host: FdHost;
}

/** Takes messages with fds in. One for a broker. */
export class FdIntake {
  readonly #parts: FdIntakeParts;

  constructor(parts: FdIntakeParts) {
    this.#parts = parts;
  }

  /**
   * Routes one message with fds, or refuses it.
   * @param open the topic of the message
   * @param packet found well-formed; its fds are taken, or left for the caller to close
   * @param frameBytes the frame with its padding
   */
  take(connection: Connection, open: OpenTopic, packet: ReceivedPacket, frameBytes: number): void {
    if (!open.mayPublish) {
      connection.counters.denied += 1;
      return;
    }
    if (!open.sendFds.allowed) return this.#refuseRight(connection, open);
    const { state, router } = this.#parts;
    const use = { action: "send-fds" as const, topic: open.topic.name };
    state.noteUse(connection, use, open.sendFds);
    const bundle = new FdBundle(packet.takeFds(), this.#closeFd);
    try {
      const rules = state.fdRulesOf(open.topic);
      const refused = findRefusedFd(bundle.fds, rules, this.#kindOfFd);
      if (refused !== undefined) {
        if (rules.mode === "enforce") return this.#refuseKind(connection, open, refused, bundle);
        state.noteUse(connection, use, { wouldDeny: { rule: rules.place } });
      }
      router.routeWithFds(connection, open, packet.buffer, frameBytes, bundle);
    } finally {
      bundle.release();
    }
  }

  /** Refuses a message some of whose fds did not arrive, because the broker may hold no more. */
  refuseForWantOfRoom(connection: Connection): void {
    connection.counters.denied += 1;
    const message = "Cannot pass fds on: the broker may hold no more of them now";
    const body = errorBody({ status: STATUS.LIMIT_QUEUED_FDS, message });
    this.#parts.send(connection, { opcode: OPCODE.ERROR, id: 0, body });
    const { id, identity } = connection;
    this.#parts.onEvent({ type: "fds-refused", connection: id, identity });
  }

  #refuseRight(connection: Connection, open: OpenTopic): void {
    connection.counters.denied += 1;
    const { id, identity } = connection;
    const about = { topic: open.topic.name, rule: open.sendFds.rule };
    const message = refusalMessage(identity, "send-fds", about.topic, about.rule);
    const body = errorBody({ status: STATUS.REJECTED_BY_POLICY, message, ...about });
    this.#parts.send(connection, { opcode: OPCODE.ERROR, id: 0, body });
    this.#parts.onEvent({
      type: "denied",
      connection: id,
      identity,
      action: "send-fds",
      ...about,
    });
  }

  #refuseKind(
    connection: Connection,
    open: OpenTopic,
    refused: RefusedFd,
    { fds }: FdBundle,
  ): void {
    connection.counters.denied += 1;
    const { state, send, onEvent, host } = this.#parts;
    const { id, identity } = connection;
    const { index, kind } = refused;
    const rules = state.fdRulesOf(open.topic);
    const about = { topic: open.topic.name, rule: rules.place };
    const isUnixSocket = kind === "socket" && host.isUnixSocket(fds[index] as number);
    const message = fdKindMessage(about.topic, rules, {
      ...refused,
      count: fds.length,
      isUnixSocket,
    });
    const body = errorBody({ status: STATUS.REJECTED_FD_KIND, message, ...about });
    send(connection, { opcode: OPCODE.ERROR, id: 0, body });
    onEvent({ type: "fds-refused", connection: id, identity, kind, ...about });
  }

  readonly #closeFd = (fd: number): void => this.#parts.host.closeFd(fd);

  readonly #kindOfFd = (fd: number, tellsReadOnly: boolean): FoundFdKind =>
    this.#parts.host.kindOfFd(fd, tellsReadOnly);
}
