/** Names of the peers, in the order in which they are shown. */

/** All of them. */
export const PEER_KINDS = [
  "redis",
  "nats",
  "mosquitto",
  "zeromq",
  "dbus-daemon",
  "dbus-broker",
] as const;

/** One of them. */
export type PeerKind = (typeof PEER_KINDS)[number];

/** Whether a relay is a peer, and not seqbus or a floor. */
export function isPeer(relay: string): relay is PeerKind {
  return PEER_KINDS.some((peer) => peer === relay);
}
