/**
 * An area is a feature of the broker with frames of its own: services, last values, channels,
 * questions. It keeps its own tables; packet-handler.ts and requests.ts only find it by opcode, and
 * sessions.ts tells it when a connection ends or the policy was replaced.
 */

import type { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import type { Connection } from "./connection.ts";
import type { FdBundle } from "./fds/fd-bundle.ts";

/** One frame of a client, in a packet that was found well-formed. */
export interface ClientFrame {
  readonly opcode: number;
  readonly flags: number;
  readonly id: number;
  /** The receive buffer, borrowed until the frame is carried out. */
  readonly buffer: PinnedBuffer;
  /** The same memory. */
  readonly bytes: Uint8Array;
  /** Where the frame starts in it. */
  readonly offset: number;
  /** Header and body, without padding. */
  readonly frameBytes: number;
  /** Part of a packet that was checked whole before, and carried out up to here. */
  readonly isRest: boolean;
  /** Its fds, borrowed until the frame is carried out; undefined where it carries none. */
  readonly bundle: FdBundle | undefined;
}

/** Carries a frame out: everything that must be right for the packet to be taken was checked. */
export type CarryOut = () => void;

/** A feature with frames of its own. */
export interface Area {
  /** What it takes from clients; no two areas share one. */
  readonly opcodes: readonly number[];
  /**
   * Reads one frame. Nothing takes effect yet, so that a packet can be read whole before any of it
   * does.
   * @throws {ProtocolError} where the frame itself is wrong, or names an id that is not the client's
   */
  read(connection: Connection, frame: ClientFrame): CarryOut;
  /**
   * The connection has ended, or reads no more; nothing may lead to it any more. In steps, between
   * which all tables are sound: what is not done yet is there, and is not used, since the connection
   * cannot be reached. None of its packets is handled meanwhile. May be begun anew at any step.
   * @returns undefined where there is nothing to do
   */
  leave(connection: Connection): Generator<void, void> | undefined;
  /** Its last step is done; it leaves the table of connections together with this. */
  noteLeft?(connection: Connection): void;
  /**
   * Whether the connection may send fds in frames of this area; where there is no such method, it
   * never may. Asked after refresh().
   */
  takesFds?(connection: Connection): boolean;
  /**
   * The policy was replaced: takes away what the connection may not have any more, and tells it. In
   * steps, as leave().
   */
  refresh(connection: Connection): Generator<void, void> | undefined;
}
