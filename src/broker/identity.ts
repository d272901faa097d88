/**
 * Who a client is, as the kernel says it.
 *
 * Nothing here may come from what a client writes on its socket. The identity is the one that
 * held at connect(); a socket that is handed on keeps it.
 */

import { getPeerCredentials, getPeerGroups } from "../ffi/peer-credentials.ts";

/** What the policy decides on. Taken once, when the connection is accepted. */
export interface PeerIdentity {
  readonly uid: number;
  /** The primary group. */
  readonly gid: number;
  /** For messages only: process ids are reused, so no right may hang on one. */
  readonly pid: number;
  /** The supplementary groups, in the kernel's order; the primary one may or may not be in it. */
  readonly groups: readonly number[];
}

/**
 * Reads SO_PEERCRED and SO_PEERGROUPS.
 * @param fd borrowed, an accepted SEQPACKET socket
 * @returns the identity as it was when the peer called connect(2); it does not change afterwards
 * @throws {SyscallError} where the kernel does not answer
 * @see unix(7)
 */
export function readPeerIdentity(fd: number): PeerIdentity {
  const { pid, uid, gid } = getPeerCredentials(fd);
  return { pid, uid, gid, groups: getPeerGroups(fd) };
}
