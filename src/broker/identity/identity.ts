/**
 * Who a client is, as the kernel says it.
 *
 * Nothing here may come from what a client writes on its socket. The identity is taken once, when
 * the connection is accepted; uid, gid, pid, groups and label are those that held at connect(). A
 * socket that is handed on keeps the identity of the process that connected it; isSentBy() is for
 * listeners that do not want that.
 */

import type { PacketReceiver } from "../../ffi/ancillary.ts";
import {
  getPeerCredentials,
  getPeerGroups,
  getPeerLabel,
  getPeerPidfd,
} from "../../ffi/peer-credentials.ts";
import { overflowIds } from "./overflow-ids.ts";
import { type ProcessIdentity, readProcessIdentity } from "./process-identity.ts";

/**
 * What the policy decides on. The facts of ProcessIdentity are there where the kernel gave a pidfd
 * (Linux 6.5) and the process was still alive when the broker looked. A peer can bring about that
 * they are not, by exiting early; so a rule that denies must not be escaped by their absence.
 */
export interface PeerIdentity extends Partial<ProcessIdentity> {
  readonly uid: number;
  /** The primary group. */
  readonly gid: number;
  /** For messages only: process ids are reused, so no right may hang on one. */
  readonly pid: number;
  /** The supplementary groups, ascending; the primary one may or may not be in it. */
  readonly groups: readonly number[];
  /** As the security module writes it; undefined where none labels sockets. */
  readonly label?: string | undefined;
  /**
   * The uid or gid is the overflow id: it has none in the broker's user namespace, or belongs to
   * `nobody`, which looks the same. No rule matches. Never true where the listener allows such.
   */
  readonly unmapped?: boolean;
}

/** How a listener looks at its clients. */
export interface IdentityOptions {
  /** Take the overflow ids for ids like any other. False where left out. */
  readonly allowUnmapped?: boolean;
}

/**
 * Reads SO_PEERCRED, SO_PEERGROUPS, SO_PEERSEC and, through SO_PEERPIDFD, cgroup and executable.
 * The pidfd is closed again: what is known by then does not change, and an fd for each connection
 * would halve their number and say of a dead client only what its socket says too.
 *
 * About 11 us, of which 7 are for the executable (measured on x86-64, Linux 6.18).
 * @param fd borrowed, an accepted SEQPACKET socket
 * @returns the identity; without the overflow gid among its groups, unless that is allowed
 * @throws {SyscallError} where the kernel does not answer, or EMFILE, ENFILE, ENOMEM
 * @see unix(7)
 */
export function readPeerIdentity(fd: number, options: IdentityOptions = {}): PeerIdentity {
  const { pid, uid, gid } = getPeerCredentials(fd);
  const groups = getPeerGroups(fd);
  const label = getPeerLabel(fd);
  const found = readPeerProcess(fd, pid);
  const overflow = overflowIds();
  const allowUnmapped = options.allowUnmapped === true;
  return {
    pid,
    uid,
    gid,
    groups: allowUnmapped ? groups : without(groups, overflow.gid),
    label,
    unmapped: !allowUnmapped && (uid === overflow.uid || gid === overflow.gid),
    cgroup: found?.cgroup,
    unit: found?.unit,
    slice: found?.slice,
    container: found?.container,
    exe: found?.exe,
  };
}

/** The list itself, where there is nothing to leave out. */
function without(groups: readonly number[], gid: number): readonly number[] {
  return groups.includes(gid) ? groups.filter((group) => group !== gid) : groups;
}

function readPeerProcess(fd: number, pid: number): ProcessIdentity | undefined {
  using pidfd = getPeerPidfd(fd);
  return pidfd && readProcessIdentity(pidfd.number, pid);
}

/**
 * Whether the last packet was sent by the process that connected, under the ids it had then: for
 * `verify = "message"`. Allocates nothing.
 *
 * False also for an honest client that has changed its ids since, that is setuid (packets carry
 * the real uid, the connection the effective one), or whose pid the broker cannot see. A sender
 * with CAP_SYS_ADMIN and CAP_SETUID can write any credentials, so this does not bind root.
 * @param receiver borrowed; its last packet is of this connection, whose listener has
 *   enablePacketCredentials() since before listen(2)
 */
export function isSentBy(identity: PeerIdentity, receiver: PacketReceiver): boolean {
  return (
    receiver.hasCredentials &&
    receiver.credentialsPid === identity.pid &&
    identity.pid !== 0 &&
    receiver.credentialsUid === identity.uid &&
    receiver.credentialsGid === identity.gid
  );
}
