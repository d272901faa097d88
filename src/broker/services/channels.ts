/**
 * Private channels: the broker asks the policy, makes the sockets, tells both sides who the other
 * is, and keeps nothing. What goes over a channel afterwards it never sees.
 *
 *     asker ◄── CHANNEL [packet end, lane end] ── broker ── CHANNEL [packet end, lane end] ──► server
 *       ╰──────────────────────────── packets and fds ───────────────────────────────────────────╯
 *
 * The server is sent its ends first, and both leave at once: where the kernel does not pass them on to
 * anybody who serves, the asker is refused. Whoever does not get his later has none, and the ends of
 * the other side close with that: it finds the end of the channel where it would have found its
 * beginning.
 */

import { assert } from "../../assert.ts";
import { SyscallError } from "../../errors.ts";
import { closeFd } from "../../ffi/owned-fd.ts";
import { openSeqpacketPair } from "../../ffi/seqpacket.ts";
import { setPassRights, setSendBufferBytes } from "../../ffi/socket-options.ts";
import { CHANNEL_FDS } from "../../protocol/limits.ts";
import { OPCODE } from "../../protocol/opcodes.ts";
import { channelBody, decodeOpenChannel } from "../../protocol/service-messages.ts";
import type { Area, CarryOut, ClientFrame } from "../area.ts";
import type { Connection } from "../connection.ts";
import type { BrokerEventListener } from "../events.ts";
import type { FdBudget } from "../fds/fd-budget.ts";
import { FdBundle } from "../fds/fd-bundle.ts";
import type { FdHost } from "../fds/fd-intake.ts";
import type { FdsInFlight } from "../fds/fds-in-flight.ts";
import type { Deferred } from "../long-work/deferred.ts";
import { excessOf, excessWords } from "../quotas/excess.ts";
import { bodyEnd, bodyStart, checkRequestId } from "../requests/requests.ts";
import type { BusState } from "../routing/bus-state.ts";
import type { Introductions } from "../routing/introductions.ts";
import { CONTROL_FRAME_BUFFER, encodeControlFrame } from "../sending/control-frames.ts";
import { type DeliveryHost, noteDelivery } from "../sending/delivery.ts";
import { SEND_QUEUE_BYTES_MAX, SOCKET_SEND_BUFFER_BYTES } from "../sending/limits.ts";
import { ACCEPTED, QUEUE_FULL } from "../sending/queue-outcomes.ts";
import type { Answers, Failure } from "./answers.ts";
import type { Member } from "./least-busy.ts";
import { MEMBERS_TRIED_MAX } from "./limits.ts";
import type { MemberChoice } from "./member-choice.ts";
import type { Service, ServiceTable } from "./service-table.ts";

/** What channels are opened with. */
export interface ChannelsParts {
  readonly state: BusState;
  readonly table: ServiceTable<Connection>;
  readonly choice: MemberChoice;
  readonly introductions: Introductions;
  readonly answers: Answers;
  readonly inFlight: FdsInFlight;
  readonly budget: FdBudget;
  readonly files: Pick<FdHost, "closeFd">;
  readonly deferred: Deferred;
  readonly onEvent: BrokerEventListener;
  readonly host: DeliveryHost;
}

/** The ends of one side. */
interface Ends {
  readonly bundle: FdBundle;
  /**
   * On whose account they are closed: the other side may have put anything into them, so that may hang.
   * It is who asked for the channel.
   */
  readonly payerUid: number;
  /** True while the other side has none yet, so that nothing is in these and closing them is quick. */
  areEmpty: boolean;
}

/** Opens private channels. */
export class Channels implements Area {
  readonly opcodes = [OPCODE.OPEN_CHANNEL];
  readonly #parts: ChannelsParts;

  constructor(parts: ChannelsParts) {
    this.#parts = parts;
  }

  /** Area */
  read(connection: Connection, frame: ClientFrame): CarryOut {
    checkRequestId(frame);
    const { service } = decodeOpenChannel(frame.bytes, bodyStart(frame), bodyEnd(frame));
    return () => this.#open(connection, frame.id, service);
  }

  /** Area: the broker keeps nothing of a channel. */
  leave(): undefined {}

  /** Area: a channel that is open is out of reach. */
  refresh(): undefined {}

  #open(asker: Connection, id: number, name: string): void {
    const { state, table, answers } = this.#parts;
    if (!answers.acceptsName(asker, id, name, "open channel")) return;
    const decision = state.decide(asker, "channel", name);
    if (!decision.allowed) return answers.deny(asker, id, "channel", name, decision.rule);
    const service = table.find(name);
    if (service === undefined || service.ownerCount === 0) {
      return this.#refuse(asker, id, name, {
        code: "REJECTED_NO_SERVICE",
        why: "nobody serves it",
      });
    }
    const member = this.#takerFrom(service, this.#parts.choice.first(service));
    if (member === undefined) {
      const why = "whoever serves it takes no channels";
      return this.#refuse(asker, id, name, { code: "REJECTED_NO_CHANNEL", why });
    }
    const lack = this.#lackOfRoom(asker);
    if (lack !== undefined) return this.#refuse(asker, id, name, lack);
    try {
      this.#connect(asker, id, service, member);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      this.#refuse(asker, id, name, this.#noFds(error.message));
    }
  }

  #lackOfRoom({ fdAccount, quota }: Connection): Failure | undefined {
    const { inFlight, budget } = this.#parts;
    inFlight.tick();
    const { charged, limit } = fdAccount;
    const fds = 2 * CHANNEL_FDS;
    if (charged + fds > limit) {
      const excess = excessOf(quota, "fds", fds);
      return { code: "LIMIT_QUEUED_FDS", why: excessWords(excess), figures: excess };
    }
    if (budget.hasRoomForFds(fds)) return undefined;
    return this.#noFds("the broker may hold no more fds now");
  }

  #noFds(why: string): Failure {
    return { code: "LIMIT_QUEUED_FDS", why, figures: this.#parts.budget.figures };
  }

  /**
   * Whatever happens, the broker keeps no end that waits for nobody.
   * @throws {SyscallError} where no sockets can be made, for want of fds or memory; or the kernel fails
   *   to send to either side
   */
  #connect(
    asker: Connection,
    id: number,
    service: Service<Connection>,
    first: Member<Connection>,
  ): void {
    const [ours, theirs] = this.#openEnds(asker);
    try {
      const server = this.#sendToServer(asker, service, first, theirs);
      if (server !== undefined) return this.#sendToAsker(asker, id, service, server, ours.bundle);
      ours.areEmpty = true;
      const figures = first.client.queue.fullness("messages");
      const why = "whoever serves it cannot take it now";
      this.#refuse(asker, id, service.topic.name, { code: "LIMIT_QUEUED_FDS", why, figures });
    } finally {
      // The server may have put files into them by now. The asker has the ends, too, but could have
      // closed its own already: then it is us who close those files, and that may hang.
      ours.bundle.release();
    }
  }

  /** @param bundle borrowed */
  #sendToAsker(
    asker: Connection,
    id: number,
    service: Service<Connection>,
    server: Connection,
    bundle: FdBundle,
  ): void {
    const { name } = service.topic;
    const why = "it cannot be passed to you now";
    const refuse = () => this.#refuse(asker, id, name, this.#noFds(why));
    let isRefused = false;
    bundle.onRefused = () => {
      isRefused = true;
      this.#parts.deferred.add(refuse);
    };
    const outcome = this.#send(asker, id, server, name, bundle, asker);
    if (outcome !== ACCEPTED) bundle.onRefused(outcome);
    if (!isRefused) this.#noteOpened(asker, server, name);
  }

  /**
   * @param ends let go of, also where this throws
   * @returns who takes them; undefined where nobody can
   */
  #sendToServer(
    asker: Connection,
    service: Service<Connection>,
    first: Member<Connection>,
    ends: Ends,
  ): Connection | undefined {
    try {
      return this.#offer(asker, service, first, ends.bundle);
    } finally {
      letGoEmpty(ends);
    }
  }

  #offer(
    asker: Connection,
    service: Service<Connection>,
    first: Member<Connection>,
    ends: FdBundle,
  ): Connection | undefined {
    let member: Member<Connection> | undefined = first;
    for (let tries = 0; member !== undefined && tries < MEMBERS_TRIED_MAX; tries += 1) {
      const server = member.client;
      const { name } = service.topic;
      if (this.#send(server, 0, asker, name, ends, asker) === ACCEPTED) return server;
      member = this.#takerFrom(service, this.#parts.choice.after(service, member));
    }
    return undefined;
  }

  /** The first member from there on that takes channels. */
  #takerFrom(
    service: Service<Connection>,
    from: Member<Connection> | undefined,
  ): Member<Connection> | undefined {
    let member = from;
    while (member?.takesChannels === false) member = this.#parts.choice.after(service, member);
    return member;
  }

  /** @returns as SendQueue.deliverWithFds() */
  #send(
    to: Connection,
    id: number,
    peer: Connection,
    service: string,
    ends: FdBundle,
    asker: Connection,
  ): number {
    // A reader that is behind must not be closed for the introduction of what it does not get.
    if (to.queue.queuedBytes >= SEND_QUEUE_BYTES_MAX) return QUEUE_FULL;
    const { introductions, inFlight, host } = this.#parts;
    introductions.introduceSender(to, peer);
    // Now, whatever follows in this turn: so a refusal of the kernel's is known while somebody else can
    // be asked, and the server's ends are closed while they are empty.
    to.queue.sendWaiting();
    const { follow } = inFlight;
    inFlight.follow = false;
    const body = channelBody({ service, peer: peer.id });
    const bytes = encodeControlFrame({ opcode: OPCODE.CHANNEL, fdCount: CHANNEL_FDS, id, body });
    assert(asker.fdAccount.charge(CHANNEL_FDS), "there is room for the fds of a channel");
    try {
      const outcome = deliverEnds(to, bytes, ends);
      noteDelivery(host, to, outcome);
      return outcome;
    } finally {
      inFlight.follow = follow;
    }
  }

  #noteOpened({ id, identity }: Connection, server: Connection, topic: string): void {
    const other = { server: server.id, serverIdentity: server.identity };
    this.#parts.onEvent({ type: "channel-opened", connection: id, identity, topic, ...other });
  }

  #refuse(asker: Connection, id: number, topic: string, failure: Failure): void {
    const cannot = `Cannot open channel on "${topic}"`;
    this.#parts.answers.fail(asker, id, { topic, cannot }, failure);
  }

  /**
   * Two sockets, and the ends of each side, paid by the asker.
   * @throws {SyscallError} EMFILE, ENFILE, ENOMEM
   */
  #openEnds(asker: Connection): [Ends, Ends] {
    const packets = openPackets();
    try {
      const lane = openSeqpacketPair();
      this.#parts.budget.hold(2 * CHANNEL_FDS);
      return [
        this.#endsOf(asker, [packets[0], lane[0]]),
        this.#endsOf(asker, [packets[1], lane[1]]),
      ];
    } catch (error) {
      for (const end of packets) closeFd(end);
      throw error;
    }
  }

  #endsOf({ identity, fdAccount }: Connection, fds: readonly number[]): Ends {
    const { budget, files } = this.#parts;
    const close = (fd: number): void => {
      if (ends.areEmpty) closeFd(fd);
      else files.closeFd(fd, ends.payerUid);
      budget.letGo(1);
    };
    const bundle = new FdBundle(fds, close, 0, fdAccount);
    const ends: Ends = { bundle, payerUid: identity.uid, areEmpty: false };
    return ends;
  }
}

/**
 * Sends the frame that is encoded, with the ends that its asker was charged for.
 * @returns as SendQueue.deliverWithFds()
 */
function deliverEnds({ queue }: Connection, bytes: number, ends: FdBundle): number {
  const before = queue.fdsAccepted;
  try {
    return queue.deliverWithFds(CONTROL_FRAME_BUFFER, 0, bytes, ends);
  } catch (error) {
    // What has left, or waits, is given back when it is taken or lost.
    if (queue.fdsAccepted === before) ends.payer.release(ends.count);
    throw error;
  }
}

/** The broker's part is done, and the other side has no ends; a queue that must wait keeps these. */
function letGoEmpty(ends: Ends): void {
  ends.areEmpty = true;
  ends.bundle.release();
  ends.areEmpty = false;
}

/**
 * The sockets for packets.
 * @throws {SyscallError} EMFILE, ENFILE, ENOMEM
 */
function openPackets(): [number, number] {
  const packets = openSeqpacketPair();
  try {
    for (const end of packets) {
      setSendBufferBytes(end, SOCKET_SEND_BUFFER_BYTES);
      // Fds have the lane; in here they would be what nobody expects.
      setPassRights(end, false);
    }
    return packets;
  } catch (error) {
    for (const end of packets) closeFd(end);
    throw error;
  }
}
