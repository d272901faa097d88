/**
 * Which readiness of which socket the reactor is told of, and what its tokens mean. A connection's
 * socket is always watched for reading; for writing only while its send queue is blocked, either
 * by the socket or by the fd lane.
 */

import { EPOLLIN, EPOLLOUT } from "../ffi/constants.ts";
import type { Epoll } from "../ffi/epoll.ts";
import type { Connection } from "./connection.ts";

/** The token of the listening socket. */
export const LISTENER_TOKEN = 0xffff_ffff;

/** Set in the token of a connection's lane, beside its slot. */
const LANE_BIT = 0x8000_0000;

/** The slot of the connection that a token (not LISTENER_TOKEN) stands for. */
export function slotOfToken(token: number): number {
  return token & ~LANE_BIT;
}

/** Whether a token (not LISTENER_TOKEN) stands for a lane and not for a connection's socket. */
export function isLaneToken(token: number): boolean {
  return (token & LANE_BIT) !== 0;
}

/** Registers sockets with epoll. */
export class SocketWatch {
  readonly #epoll: Epoll;

  /** @param epoll borrowed */
  constructor(epoll: Epoll) {
    this.#epoll = epoll;
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
  }

  /**
   * Watches for the moment when a blocked queue may go on.
   * @param blockedFd the connection's socket or lane; -1 where nothing blocks
   */
  watchWritable(connection: Connection, blockedFd: number): void {
    if (connection.watchedFd === blockedFd) return;
    const socket = connection.socket.number;
    const lane = connection.lane?.number;
    const reading = connection.isReadingStopped || connection.isHeld ? 0 : EPOLLIN;
    if (connection.watchedFd === socket) this.#epoll.modify(socket, reading, connection.slot);
    else if (connection.watchedFd === lane && lane !== undefined) this.#epoll.remove(lane);
    connection.watchedFd = blockedFd;
    if (blockedFd === socket) this.#epoll.modify(socket, reading | EPOLLOUT, connection.slot);
    else if (blockedFd >= 0) {
      this.#epoll.add(blockedFd, EPOLLOUT, (connection.slot | LANE_BIT) >>> 0);
    }
  }

  /** From now on nothing more is read from this connection; its end is still noticed. */
  stopReading(connection: Connection): void {
    connection.isReadingStopped = true;
    this.watchWritable(connection, -1);
    if (!connection.isUnwatched) this.#epoll.modify(connection.socket.number, 0, connection.slot);
  }

  /**
   * The connection is held back, or not any more: readiness to be read is not told meanwhile. Its end
   * still is; see forgetHeld().
   */
  setHeld(connection: Connection, isHeld: boolean): void {
    connection.isHeld = isHeld;
    const socket = connection.socket.number;
    const reading = isHeld || connection.isReadingStopped ? 0 : EPOLLIN;
    if (connection.isUnwatched) {
      if (isHeld) return;
      connection.isUnwatched = false;
      this.#epoll.add(socket, reading, connection.slot);
      return;
    }
    const writing = connection.watchedFd === socket ? EPOLLOUT : 0;
    this.#epoll.modify(socket, reading | writing, connection.slot);
  }

  /**
   * The connection has ended while it was held back: epoll would tell so for ever, and what it sent
   * before is still to come. Nothing more is to be sent to it. setHeld() watches it again.
   */
  forgetHeld(connection: Connection): void {
    this.watchWritable(connection, -1);
    if (connection.isUnwatched) return;
    connection.isUnwatched = true;
    this.#epoll.remove(connection.socket.number);
  }

  /** Forgets a connection; before its sockets are closed. */
  remove(connection: Connection): void {
    this.watchWritable(connection, -1);
    if (!connection.isUnwatched) this.#epoll.remove(connection.socket.number);
  }
}
