/** Limits of fds: those that the broker keeps free, and those on their way to clients. */

/** File descriptors kept free for files, logs, the runtime and administrators. */
export const FDS_RESERVED = 64;

/** A socket and, worst case, a lane for each connection. */
export const FDS_PER_CONNECTION = 2;

/**
 * Fds kept open on nothing: closed for a moment where none is left, an administrator is let in with
 * them, with its lane and what is read of it; all others are told that there is no room.
 */
export const SPARE_FDS = 6;

/** What accepting one takes for a moment: its socket, its pidfd, and a file in /proc. */
export const SPARE_FDS_FOR_ONE = 3;

/**
 * Fds in a client's socket that it may not have taken yet; more wait in the broker, where they can be
 * withdrawn. Two full messages: the kernel counts what is in sockets against the broker's user, so a
 * reader that stopped must not keep much there.
 */
export const FDS_UNTAKEN_MAX = 512;

/** Fds sent to one client before the kernel is asked which of them it took: 0.2 us for so many. */
export const FDS_UNTAKEN_BEFORE_LOOK = 64;

/**
 * Milliseconds after which fds that a subscriber did not take are withdrawn, where the policy says
 * nothing else.
 */
export const FD_TTL_MS = 30_000;

/**
 * Milliseconds after which fds that wait count against their receiver: while a publisher's quota runs
 * short, a client that has not taken earlier ones for so long gets no more. Guess.
 */
export const FDS_STALLED_MS = 1_000;

/** Milliseconds between looks at fds that are on their way; none where there are none. */
export const FD_SWEEP_INTERVAL_MS = 1_000;

/** Milliseconds between looks for the figures of a SYNC, which may ask at any rate. */
export const FD_LOOK_INTERVAL_MS = 5;

/** SYNCs of one connection that wait for its fds to be taken; one more is answered at once. */
export const FD_WAITERS_MAX = 64;

/**
 * What a socket costs that is kept after its client was closed, to know when the fds in it are
 * taken: so many fds more, charged to the client's uid. So no uid makes the broker keep many.
 */
export const LINGERING_SOCKET_COST = 64;
