/**
 * Sends what a turn left in the send queues, and watches those that the kernel does not take yet.
 * Whoever cannot be sent to any more is reported; ending connections is sessions.ts's.
 */

import { SyscallError } from "../../errors.ts";
import type { Connection } from "../connection.ts";
import type { SocketWatch } from "../socket-watch.ts";
import { UNFLUSHED_CONNECTIONS_MAX } from "./limits.ts";
import { ACCEPTED, BLOCKED, PEER_GONE } from "./queue-outcomes.ts";

/** What becomes of connections that cannot be flushed. */
export interface FlushHost {
  /** The client overflowed its queue, the reserve for control frames included. */
  evict(connection: Connection): void;
  /** The kernel fails to serve this one connection. */
  abandon(connection: Connection): void;
  /** The client's queue was flushed, or is gone: called only while it holds publishers back. */
  noteDrained(connection: Connection): void;
}

/** Connections with unsent frames. */
export class Flusher {
  /** Told when what waited for a connection was written out, perhaps in part. */
  onFlushed: (connection: Connection) => void = () => {};
  /** Told of each client that does not read any more, where it does not end by that. */
  onPeerGone: (connection: Connection) => void = () => {};
  readonly #watch: SocketWatch;
  readonly #host: FlushHost;
  readonly #unflushed: Connection[] = [];

  constructor(watch: SocketWatch, host: FlushHost) {
    this.#watch = watch;
    this.#host = host;
  }

  /** Whether flushAll() has nothing to do. */
  get isIdle(): boolean {
    return this.#unflushed.length === 0;
  }

  /** The connection's queue holds frames; many such are flushed at once, so that few wait. */
  note(connection: Connection): void {
    connection.isUnflushed = true;
    this.#unflushed.push(connection);
    if (this.#unflushed.length >= UNFLUSHED_CONNECTIONS_MAX) this.flushAll();
  }

  /** Flushes every connection that was noted. */
  flushAll(): void {
    for (let index = 0; index < this.#unflushed.length; index += 1) {
      const connection = this.#unflushed[index] as Connection;
      connection.isUnflushed = false;
      if (connection.state !== "DOOMED") this.flush(connection);
    }
    this.#unflushed.length = 0;
  }

  /** Sends what one connection's socket takes, and watches for when it takes more. */
  flush(connection: Connection): void {
    try {
      this.#settle(connection, connection.queue.flush());
      this.onFlushed(connection);
    } catch (error) {
      // epoll may be out of memory or watches: this client cannot be served, all others can.
      if (!(error instanceof SyscallError)) throw error;
      this.#host.abandon(connection);
    }
  }

  /**
   * The client does not read any more, but what it sent before may still wait for us: so nothing
   * more is sent, and the connection ends when reading finds its end.
   */
  notePeerGone(connection: Connection): void {
    if (connection.queue.isAbandoned) return;
    connection.queue.abandon();
    this.onPeerGone(connection);
    this.#watch.watchWritable(connection, -1);
    if (connection.isHolding) this.#host.noteDrained(connection);
  }

  #settle(connection: Connection, outcome: number): void {
    if (outcome === ACCEPTED) this.#watch.watchWritable(connection, -1);
    else if (outcome === BLOCKED) {
      const { blockedFd, awaitsTaking } = connection.queue;
      this.#watch.watchWritable(connection, blockedFd, awaitsTaking);
    } else if (outcome === PEER_GONE) this.notePeerGone(connection);
    else return this.#host.evict(connection);
    if (connection.isHolding) this.#host.noteDrained(connection);
  }
}
