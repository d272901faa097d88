/**
 * Messages with fds, on their way in: whether the sender may send files, whether the topic takes
 * files of these kinds, whether a large body is safe, and what the sender is told where not. Each fd
 * is looked at once, before the first subscriber gets any. A message that is refused is refused
 * whole, and all its fds are closed.
 */

import type { FoundFdKind } from "../../fd-kinds.ts";
import { lastClosesAtOnce } from "../../ffi/fd-hazard.ts";
import type { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import { errorBody } from "../../protocol/control-messages.ts";
import { FRAME_KIND_WORD } from "../../protocol/frame.ts";
import { OPCODE } from "../../protocol/opcodes.ts";
import { isLarge } from "../../protocol/packet.ts";
import { STATUS } from "../../protocol/status-codes.ts";
import type { FdCloser } from "../closing/fd-closer.ts";
import type { Connection, OpenTopic } from "../connection.ts";
import type { BrokerEventListener } from "../events.ts";
import { excessOf, excessWords, type LimitFigures } from "../quotas/excess.ts";
import { bodyBytesOf, isTooLarge, tellTooLarge } from "../reading/message-limit.ts";
import type { ReceivedPacket } from "../reading/packet-handler.ts";
import { fdKindMessage, refusalMessage } from "../requests/refusal.ts";
import type { BusState } from "../routing/bus-state.ts";
import type { ControlSender } from "../routing/introductions.ts";
import type { Router } from "../routing/router.ts";
import type { FdBudget } from "./fd-budget.ts";
import { FdBundle } from "./fd-bundle.ts";
import { findRefusedFd, type RefusedFd } from "./fd-rules.ts";
import type { FdsInFlight } from "./fds-in-flight.ts";
import { type LargeBodyFlaw, largeBodyFlaw } from "./large-body.ts";

/** The kernel, for fds of clients. */
export interface FdHost {
  /**
   * Closes one fd of a client's, of this uid, which the broker owns. Must not wait.
   * @param atOnce it is known that closing it does not. Default false
   */
  closeFd(fd: number, uid: number, atOnce?: boolean): void;
  /** The kind of one fd, borrowed; `tellsReadOnly` as for fdKind(). Must not wait. */
  kindOfFd(fd: number, tellsReadOnly: boolean): FoundFdKind;
  /** Whether an fd, borrowed, is a socket of AF_UNIX. */
  isUnixSocket(fd: number): boolean;
}

/** Where fds are sent: a topic, or the topic of a service, and the sender's rights there. */
export interface FdUse extends Pick<OpenTopic, "topic" | "mayPublish" | "sendFds"> {
  /** The request that a refusal answers. Default 0: none. */
  readonly requestId?: number;
}

/** What an intake is made from. */
export interface FdIntakeParts {
  readonly state: BusState;
  readonly router: Router;
  readonly send: ControlSender;
  readonly onEvent: BrokerEventListener;
  readonly budget: FdBudget;
  readonly closer: Pick<FdCloser, "isStarved">;
  readonly inFlight: Pick<FdsInFlight, "turn">;
  readonly host: FdHost;
  /** Sends what waits for the end of the turn, and looks which fds are closed by now. */
  readonly settle: () => void;
}

/** Takes messages with fds in. One for a broker. */
export class FdIntake {
  readonly #parts: FdIntakeParts;
  /** For fds of `#uid`: most messages come from whom the one before came from. */
  #close: ((fd: number, harmlessIn: number) => void) | undefined;
  #uid = 0;

  constructor(parts: FdIntakeParts) {
    this.#parts = parts;
  }

  /**
   * Routes one message with fds, or refuses it.
   * @param open the topic of the message
   * @param packet found well-formed; its fds are taken
   * @param frameBytes the frame with its padding
   */
  take(connection: Connection, open: OpenTopic, packet: ReceivedPacket, frameBytes: number): void {
    const bundle = this.#hold(connection, packet);
    try {
      this.#route(connection, open, packet.buffer, frameBytes, bundle);
    } finally {
      bundle.release();
      connection.fdAccount.givePlaceUp();
    }
  }

  #route(
    connection: Connection,
    open: OpenTopic,
    buffer: PinnedBuffer,
    frameBytes: number,
    bundle: FdBundle,
  ): void {
    const bodyBytes = bodyBytesOf(buffer.words, 0);
    if (open.mayPublish && isTooLarge(bodyBytes, open.messageBytesMax)) {
      return this.#refuseSize(connection, open, bodyBytes);
    }
    if (!this.admits(connection, open, bundle, bodyBytes)) return;
    const copies = this.#parts.router.routeWithFds(connection, open, buffer, frameBytes, bundle);
    if (copies > 0) this.refuseForQuota(connection, open.topic.name, copies);
  }

  /**
   * Whether the broker has room for the fds that came with a packet; once found, it is kept. Fds of
   * earlier messages that only wait for others to leave with them take none.
   */
  hasRoomFor(packet: ReceivedPacket): boolean {
    if (packet.isRest === true) return true;
    const { budget, closer, settle } = this.#parts;
    if (packet.controlTruncated) return false;
    if (packet.receivedFdCount > 0 && closer.isStarved) return false;
    if (!budget.hasRoomForFds(packet.receivedFdCount)) settle();
    return budget.hasRoomForFds(packet.receivedFdCount);
  }

  /**
   * Takes the fds of a packet, for which there is room, and holds them for as long as `use` runs;
   * whoever needs them longer retains the bundle. The connection pays for the copies that
   * `use` sends, and is to be charged for them first.
   */
  lend(connection: Connection, packet: ReceivedPacket, use: (bundle: FdBundle) => void): void {
    const bundle = this.#hold(connection, packet);
    try {
      use(bundle);
    } finally {
      bundle.release();
      connection.fdAccount.givePlaceUp();
    }
  }

  /** Takes the fds of a packet. @returns with one holder, who is to let go of it */
  #hold({ identity, fdAccount }: Connection, packet: ReceivedPacket): FdBundle {
    const kind = packet.buffer.words[FRAME_KIND_WORD] as number;
    const fds = packet.takeFds();
    this.#parts.budget.hold(fds.length);
    const bodyFdCount = isLarge(kind) ? 1 : 0;
    return new FdBundle(fds, this.#closerFor(identity.uid), bodyFdCount, fdAccount);
  }

  /** What closes fds of a user; made once for messages of the same user in a row. */
  #closerFor(uid: number): (fd: number, harmlessIn: number) => void {
    if (uid === this.#uid && this.#close !== undefined) return this.#close;
    const { budget, host, inFlight } = this.#parts;
    const close = (fd: number, harmlessIn: number): void => {
      budget.letGo(1);
      host.closeFd(fd, uid, harmlessIn === inFlight.turn);
    };
    this.#uid = uid;
    this.#close = close;
    return close;
  }

  /**
   * Whether a message with fds may be routed; where not, its sender has been told. The body of a
   * large message is no file of the sender's: it takes no right to send fds, and has no kind.
   * @param claimedBytes what the frame says of a large body; without meaning for others
   */
  admits(connection: Connection, open: FdUse, bundle: FdBundle, claimedBytes: number): boolean {
    if (!open.mayPublish) {
      connection.counters.denied += 1;
      return false;
    }
    if (bundle.fileCount > 0 && !this.#admitsFiles(connection, open, bundle.fileFds)) return false;
    const bodyFd = bundle.bodyFds[0];
    if (bodyFd === undefined) return true;
    const flaw = largeBodyFlaw(bodyFd, claimedBytes, open.topic.name);
    if (flaw !== undefined) {
      this.#refuseBody(connection, open, flaw);
      return false;
    }
    // That look serves for closing it too; no other fd was looked at since.
    if (bundle.fileCount === 0 && lastClosesAtOnce()) {
      bundle.harmlessIn = this.#parts.inFlight.turn;
    }
    return true;
  }

  #admitsFiles(connection: Connection, open: FdUse, files: readonly number[]): boolean {
    if (!open.sendFds.allowed) {
      this.#refuseRight(connection, open);
      return false;
    }
    const { state } = this.#parts;
    const rules = state.fdRulesOf(open.topic);
    const refused = findRefusedFd(files, rules, this.#kindOfFd);
    if (refused !== undefined && rules.mode === "enforce") {
      this.#refuseKind(connection, open, refused, files);
      return false;
    }
    if (open.sendFds.wouldDeny !== undefined || refused !== undefined) {
      const use = { action: "send-fds" as const, topic: open.topic.name };
      state.noteUse(connection, use, open.sendFds);
      if (refused !== undefined) {
        state.noteUse(connection, use, { wouldDeny: { rule: rules.place } });
      }
    }
    return true;
  }

  /**
   * Refuses a message whose fds did not all arrive, or that the broker has no room for.
   * @param requestId the request that the refusal answers; 0 for none
   */
  refuseForWantOfRoom(connection: Connection, requestId: number): void {
    const message = "Cannot pass fds on: the broker may hold no more of them now";
    this.#refuseForLimit(connection, { message, ...this.#parts.budget.figures }, requestId);
  }

  /**
   * Refuses a message whose copies of fds do not fit the quota of its sender.
   * @param requestId the request that the refusal answers; 0 for none
   */
  refuseForQuota(connection: Connection, topic: string, copies: number, requestId = 0): void {
    const excess = excessOf(connection.quota, "fds", copies);
    const { limit, actual } = excess;
    const why = `${copies} copies do not fit (${excessWords(excess)})`;
    const message = `Cannot pass fds on from "${topic}": ${why}`;
    this.#refuseForLimit(connection, { topic, message, limit, actual }, requestId);
  }

  /**
   * Refuses a packet that must wait, where its fds do not fit the quota of its sender.
   * @param about its topic, if it is a message; how many fds; and the request that the refusal
   *   answers, 0 for none
   */
  refuseToKeep(
    connection: Connection,
    about: { readonly topic: string | undefined; readonly fds: number; readonly requestId: number },
  ): void {
    const { topic, fds, requestId } = about;
    const excess = excessOf(connection.quota, "fds", fds);
    const { limit, actual } = excess;
    const message = `Cannot keep ${fds} fds of a message that waits: ${excessWords(excess)}`;
    const figures = { message, limit, actual };
    this.#refuseForLimit(
      connection,
      topic === undefined ? figures : { topic, ...figures },
      requestId,
    );
  }

  #refuseSize(connection: Connection, open: OpenTopic, actual: number): void {
    connection.counters.denied += 1;
    const about = { topic: open.topic.name, limit: open.messageBytesMax, actual };
    tellTooLarge(this.#parts, connection, about);
  }

  #refuseForLimit(
    connection: Connection,
    about: LimitFigures & { readonly topic?: string; readonly message: string },
    requestId: number,
  ): void {
    connection.counters.denied += 1;
    const code = "LIMIT_QUEUED_FDS";
    const body = errorBody({ status: STATUS[code], ...about });
    this.#parts.send(connection, { opcode: OPCODE.ERROR, id: requestId, body });
    const { id, identity } = connection;
    this.#parts.onEvent({ type: "fds-refused", connection: id, identity, code, ...about });
  }

  #refuseRight(connection: Connection, open: FdUse): void {
    connection.counters.denied += 1;
    const { id, identity } = connection;
    const about = { topic: open.topic.name, rule: open.sendFds.rule };
    const message = refusalMessage(identity, "send-fds", about.topic, about.rule);
    const body = errorBody({ status: STATUS.REJECTED_BY_POLICY, message, ...about });
    this.#parts.send(connection, { opcode: OPCODE.ERROR, id: open.requestId ?? 0, body });
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
    open: FdUse,
    refused: RefusedFd,
    files: readonly number[],
  ): void {
    connection.counters.denied += 1;
    const { state, send, onEvent, host } = this.#parts;
    const { id, identity } = connection;
    const { index, kind } = refused;
    const rules = state.fdRulesOf(open.topic);
    const about = { topic: open.topic.name, rule: rules.place };
    const isUnixSocket = kind === "socket" && host.isUnixSocket(files[index] as number);
    const message = fdKindMessage(about.topic, rules, {
      ...refused,
      count: files.length,
      isUnixSocket,
    });
    const body = errorBody({ status: STATUS.REJECTED_FD_KIND, message, ...about });
    send(connection, { opcode: OPCODE.ERROR, id: open.requestId ?? 0, body });
    onEvent({ type: "fds-refused", connection: id, identity, kind, ...about });
  }

  #refuseBody(connection: Connection, open: FdUse, flaw: LargeBodyFlaw): void {
    connection.counters.denied += 1;
    const { code, message, figures } = flaw;
    const topic = open.topic.name;
    const { limit, actual } = figures ?? {};
    const body = errorBody({ status: STATUS[code], message, topic, limit, actual });
    this.#parts.send(connection, { opcode: OPCODE.ERROR, id: open.requestId ?? 0, body });
    const { id, identity } = connection;
    const about = { topic, code, limit, actual };
    this.#parts.onEvent({ type: "body-refused", connection: id, identity, ...about });
  }

  readonly #kindOfFd = (fd: number, tellsReadOnly: boolean): FoundFdKind =>
    this.#parts.host.kindOfFd(fd, tellsReadOnly);
}
