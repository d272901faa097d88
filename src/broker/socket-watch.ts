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
    const reading = readingOf(connection);
    if (connection.watchedFd === socket) this.#epoll.modify(socket, reading, connection.slot);
    else if (connection.watchedFd === lane && lane !== undefined) this.#epoll.remove(lane);
    connection.watchedFd = blockedFd;
    if (blockedFd === socket) this.#epoll.modify(socket, reading | EPOLLOUT, connection.slot);
    else if (blockedFd >= 0) {
      this.#epoll.add(blockedFd, EPOLLOUT, (connection.slot | LANE_BIT) >>> 0);
    }
  }

  /** Stops or resumes reading from a connection; its end is noticed in any case. */
  setReadingPaused(connection: Connection, isPaused: boolean): void {
    if (connection.isReadingPaused === isPaused) return;
    connection.isReadingPaused = isPaused;
    const socket = connection.socket.number;
    const writing = connection.watchedFd === socket ? EPOLLOUT : 0;
    this.#epoll.modify(socket, readingOf(connection) | writing, connection.slot);
  }

  /** From now on nothing more is read from this connection; its end is still noticed. */
  stopReading(connection: Connection): void {
    connection.isReadingStopped = true;
    this.watchWritable(connection, -1);
    this.#epoll.modify(connection.socket.number, 0, connection.slot);
  }

  /** Forgets a connection; before its sockets are closed. */
  remove(connection: Connection): void {
    this.watchWritable(connection, -1);
    this.#epoll.remove(connection.socket.number);
  }
}

function readingOf({ isReadingStopped, isReadingPaused }: Connection): number {
  return isReadingStopped || isReadingPaused ? 0 : EPOLLIN;
}
