/**
 * Which readiness of which socket the reactor is told of, and what its tokens mean. A connection's
 * socket is always watched for reading; for writing only while its send queue is blocked, either
 * by the socket or by the fd lane.
 *
 * Signs that a client takes fds come by a second epoll instance, which the first one watches: there
 * sockets are watched edge-triggered. Each record that is received frees memory of the socket, and
 * that is an edge, also where the socket was writable all the time (unix_write_space() in Linux).
 */

import { EPOLLET, EPOLLIN, EPOLLOUT } from "../ffi/constants.ts";
import { Epoll } from "../ffi/epoll.ts";
import type { Connection } from "./connection.ts";
import type { UserTurns } from "./reading/user-turns.ts";

/** The token of the listening socket. */
export const LISTENER_TOKEN = 0xffff_ffff;

/** The token of the second epoll instance: see takingSlots(). */
export const TAKING_TOKEN = 0xffff_fffd;

/** Set in the token of a connection's lane, beside its slot. */
const LANE_BIT = 0x8000_0000;

/** The slot of the connection that a token (none of those above) stands for. */
export function slotOfToken(token: number): number {
  return token & ~LANE_BIT;
}

/** Whether a token (none of those above) stands for a lane and not for a connection's socket. */
export function isLaneToken(token: number): boolean {
  return (token & LANE_BIT) !== 0;
}

/** Registers sockets with epoll. */
export class SocketWatch {
  readonly #epoll: Epoll;
  readonly #turns: UserTurns;
  readonly #taking = new Epoll();

  /**
   * @param epoll borrowed
   * @param turns learns whose connections there are
   * @throws {SyscallError} EMFILE, ENFILE, ENOMEM
   */
  constructor(epoll: Epoll, turns: UserTurns) {
    this.#epoll = epoll;
    this.#turns = turns;
    epoll.add(this.#taking.number, EPOLLIN, TAKING_TOKEN);
  }

  /** Closes what it opened; the sockets are their owners'. */
  close(): void {
    this.#taking.close();
  }

  /** Watches a listening socket for connections. */
  watchListener(fd: number): void {
    this.#epoll.add(fd, EPOLLIN, LISTENER_TOKEN);
  }

  /** Stops or resumes watching a listening socket, which stays registered. */
  setListenerPaused(fd: number, isPaused: boolean): void {
    this.#epoll.modify(fd, isPaused ? 0 : EPOLLIN, LISTENER_TOKEN);
  }

  /** Watches a new connection for reading. */
  add(connection: Connection): void {
    this.#epoll.add(connection.socket.number, EPOLLIN, connection.slot);
    connection.userTurn = this.#turns.enter(connection.identity.uid);
  }

  /**
   * Watches for the moment when a blocked queue may go on.
   * @param blockedFd the connection's socket or lane; -1 where nothing blocks
   * @param awaitsTaking it may be writable, but the client must take fds from it
   */
  watchWritable(connection: Connection, blockedFd: number, awaitsTaking = false): void {
    if (connection.watchedFd === blockedFd && connection.awaitsTaking === awaitsTaking) return;
    if (!connection.awaitsTaking) this.#unwatchWritable(connection);
    connection.watchedFd = blockedFd;
    connection.awaitsTaking = awaitsTaking;
    if (awaitsTaking) return this.watchTaking(connection);
    const socket = connection.socket.number;
    const reading = readingOf(connection);
    if (blockedFd === socket) this.#epoll.modify(socket, reading | EPOLLOUT, connection.slot);
    else if (blockedFd >= 0) {
      this.#epoll.add(blockedFd, EPOLLOUT, (connection.slot | LANE_BIT) >>> 0);
    }
  }

  #unwatchWritable(connection: Connection): void {
    const socket = connection.socket.number;
    const lane = connection.lane?.number;
    const reading = readingOf(connection);
    if (connection.watchedFd === socket) this.#epoll.modify(socket, reading, connection.slot);
    else if (connection.watchedFd === lane && lane !== undefined) this.#epoll.remove(lane);
  }

  /** Tells of each sign that the client takes fds, once more at first; until unwatchTaking(). */
  watchTaking(connection: Connection): void {
    if (connection.takingFd >= 0) return;
    connection.takingFd = connection.queue.outlet.fd;
    this.#taking.add(connection.takingFd, EPOLLOUT | EPOLLET, connection.slot);
  }

  /** Whoever waited for such signs does not any more. */
  unwatchTaking(connection: Connection): void {
    if (connection.takingFd < 0) return;
    this.#taking.remove(connection.takingFd);
    connection.takingFd = -1;
  }

  /** The slots of connections that have given a sign since the last call. */
  *takingSlots(): Generator<number> {
    const count = this.#taking.wait(0);
    for (let index = 0; index < count; index += 1) yield this.#taking.token(index);
  }

  /** Stops or resumes reading from a connection; its end is noticed in any case. */
  setReadingPaused(connection: Connection, isPaused: boolean): void {
    if (connection.isReadingPaused === isPaused) return;
    connection.isReadingPaused = isPaused;
    if (!connection.isUnwatched) this.#renew(connection);
  }

  /**
   * The connection is to be read when it is its user's turn, or was: readiness to be read is not told
   * meanwhile, its end is.
   */
  setAwaitingTurn(connection: Connection, awaitsTurn: boolean): void {
    if (connection.awaitsTurn === awaitsTurn) return;
    connection.awaitsTurn = awaitsTurn;
    if (!connection.isUnwatched) this.#renew(connection);
  }

  /** Reading may have been stopped or resumed. */
  #renew(connection: Connection): void {
    const socket = connection.socket.number;
    const isBlocked = connection.watchedFd === socket && !connection.awaitsTaking;
    const writing = isBlocked ? EPOLLOUT : 0;
    this.#epoll.modify(socket, readingOf(connection) | writing, connection.slot);
  }

  /** From now on nothing more is read from this connection; its end is still noticed. */
  stopReading(connection: Connection): void {
    connection.isReadingStopped = true;
    this.watchWritable(connection, -1);
    if (!connection.isUnwatched) this.#epoll.modify(connection.socket.number, 0, connection.slot);
  }

  /**
   * The connection is held back, or not any more: readiness to be read is not told meanwhile. Its end
   * still is; see unwatch().
   * @throws {SyscallError} ENOMEM, ENOSPC
   */
  setHeld(connection: Connection, isHeld: boolean): void {
    connection.isHeld = isHeld;
    if (!connection.isUnwatched) return this.#renew(connection);
    if (isHeld) return;
    this.#epoll.add(connection.socket.number, readingOf(connection), connection.slot);
    connection.isUnwatched = false;
  }

  /**
   * The connection has ended, and epoll would tell so for ever: while it was held back, and what it
   * sent before is still to come, or while it waits for its burial. Nothing more is to be sent to it.
   * setHeld() watches it again.
   */
  unwatch(connection: Connection): void {
    this.watchWritable(connection, -1);
    if (connection.isUnwatched) return;
    connection.isUnwatched = true;
    this.#epoll.remove(connection.socket.number);
  }

  /** Forgets a connection; before its sockets are closed. */
  remove(connection: Connection): void {
    this.watchWritable(connection, -1);
    this.unwatchTaking(connection);
    if (!connection.isUnwatched) this.#epoll.remove(connection.socket.number);
    if (connection.userTurn !== undefined) this.#turns.leave(connection.userTurn);
    connection.userTurn = undefined;
  }
}

function readingOf(connection: Connection): number {
  const { isReadingStopped, isReadingPaused, isHeld, awaitsTurn } = connection;
  return isReadingStopped || isReadingPaused || isHeld || awaitsTurn ? 0 : EPOLLIN;
}
