/**
 * Limits of the broker alone: each with its unit, and why it is what it is. Limits that a client
 * must know too stand in src/protocol/limits.ts.
 */

import { assert } from "../assert.ts";
import {
  FRAME_ALIGNMENT_BYTES,
  LARGE_BODY_BYTES_MAX,
  MESSAGE_FDS_MAX,
  PACKET_BYTES_MAX,
} from "../protocol/limits.ts";

/** Connections at a time, those before HELLO included. Guess: a large desktop has some hundred. */
export const CONNECTIONS_MAX = 8_192;

/**
 * Connections of one uid at a time, so that no user can lock the others out; half of them where the
 * broker may hold fewer than CONNECTIONS_MAX.
 */
export const CONNECTIONS_PER_UID_MAX = CONNECTIONS_MAX / 2;

/** Connections of one uid that have not said HELLO; one more evicts the oldest of them. */
export const AWAITING_HELLO_PER_UID_MAX = 64;

/** Newcomers of one uid that are let in as they come, if it has been quiet before. Guess: a login. */
export const NEWCOMERS_AT_ONCE = 512;

/**
 * Newcomers of one uid in a second, in the long run; others wait. What is done for one of them holds
 * up everybody for 0.1 ms, so a crowd costs others 1.3 % of their time at most. Somebody who starts
 * a program for each message gets to half of it on two cores.
 */
export const NEWCOMERS_PER_SECOND = 128;

/** Newcomers of one uid that wait, for two seconds at most; more are turned away. */
export const NEWCOMERS_WAITING_MAX = 2 * NEWCOMERS_PER_SECOND;

/**
 * Newcomers of all users that wait, at most: one of so many of the connections that the broker has
 * files for. They are beyond the quotas, which are asked when they are let in.
 */
export const NEWCOMERS_WAITING_SHARE = 8;

/** Users who came lately; above it those are forgotten who have been quiet. Guess. */
export const NEWCOMERS_KNOWN_MAX = 1_024;

/** Milliseconds that a connection may take to say HELLO. */
export const HELLO_TIMEOUT_MS = 5_000;

/** Pending connections in the kernel; net.core.somaxconn caps it. */
export const LISTEN_BACKLOG = 1_024;

/** Milliseconds without accepting after the process or system ran out of fds or memory. */
export const ACCEPT_PAUSE_MS = 100;

/** File descriptors kept free for files, logs, the runtime and administrators. */
export const FDS_RESERVED = 64;

/** A socket and, worst case, a lane for each connection. */
export const FDS_PER_CONNECTION = 2;

/**
 * Connections of administrators beyond all other limits, so that a full broker can still be asked
 * what is wrong. They fit FDS_RESERVED.
 */
export const ADMINISTRATORS_EXTRA_MAX = 8;

/**
 * Fds kept open on nothing: closed for a moment where none is left, an administrator is let in with
 * them, with its lane and what is read of it; all others are told that there is no room.
 */
export const SPARE_FDS = 6;

/** What accepting one takes for a moment: its socket, its pidfd, and a file in /proc. */
export const SPARE_FDS_FOR_ONE = 3;

/**
 * Fds kept open on nothing for starting threads. A thread of the published package takes 3 for a
 * moment, and keeps 2. From the sources each core may read two files at a time; with more than four
 * cores such a thread may fail to start, and is started again later. Measured (strace).
 */
export const THREAD_START_FDS = 12;

/** With fewer of them no thread is started. */
export const THREAD_START_FDS_MIN = 4;

/** Where so many fds can be opened, threads are started without those. They fit FDS_RESERVED. */
export const THREAD_START_ROOM_FDS = 2 * THREAD_START_FDS;

/** Milliseconds that the broker waits for a thread to come up, where it has few fds. Guess: 25 to 130. */
export const THREAD_START_WAIT_MS = 2_000;

/** Topics that one connection may hold open for publishing. */
export const TOPICS_PER_CONNECTION_MAX = 8_192;

/** Topics at a time in one broker. */
export const TOPICS_MAX = 262_144;

/** Subscriptions of one connection. The benchmark holds 100,000 on one. */
export const SUBSCRIPTIONS_PER_CONNECTION_MAX = 131_072;

/**
 * Queue groups that one connection may be in: of each it gets a copy of its own, so they multiply
 * what one message costs. Guess.
 */
export const GROUPS_PER_CONNECTION_MAX = 64;

/** Pairs of a topic and a queue group at a time in one broker: ids of the same kind as topics. */
export const GROUP_TOPICS_MAX = 262_144;

/**
 * Members of a queue group that are compared for each share of its messages, from the one on whose
 * turn it is: asking the kernel what one has not read costs 0.2 us.
 */
export const GROUP_CANDIDATES = 8;

/** Subscriptions at a time in one broker. */
export const SUBSCRIPTIONS_MAX = 1_048_576;

/** Services that one connection may serve, wait for or watch, without a policy's word. Guess. */
export const SERVICES_PER_CONNECTION_MAX = 4_096;

/**
 * Members of a shared service that a request is offered to, where those before have full queues.
 * Guess: who does not read collects unanswered requests and is not asked any more.
 */
export const MEMBERS_TRIED_MAX = 16;

/** Calls carried out before the broker looks at the clock again. Guess: a tenth of a millisecond. */
export const CALLS_PER_LOOK = 64;

/** Bytes waiting for one slow connection. Beyond it messages are dropped and told by a GAP. */
export const SEND_QUEUE_BYTES_MAX = 4 * 1024 * 1024;

/**
 * After a drop the queue takes messages again once it is this far down, so that a slow reader gets
 * few long gaps and not one gap after each message.
 */
export const SEND_QUEUE_BYTES_RESUME = SEND_QUEUE_BYTES_MAX / 2;

/**
 * From so many waiting bytes on, publishers are held back for a subscriber that asked for "block",
 * until no more than SEND_QUEUE_BYTES_RESUME wait. Below SEND_QUEUE_BYTES_MAX, so that what was
 * taken before, and messages of other topics, still fit.
 */
export const SEND_QUEUE_BYTES_HOLD = (SEND_QUEUE_BYTES_MAX / 4) * 3;

/**
 * Milliseconds after which a subscriber that holds publishers back and takes nothing is closed, where
 * the policy says nothing else.
 */
export const STALL_LIMIT_MS = 10_000;

/**
 * Milliseconds after which a publisher that is held back is told so, at the next look: a reader that
 * is merely slow lets it go on before. Guess.
 */
export const HELD_TOLD_MS = 1_000;

/** Milliseconds between looks at subscribers that hold publishers back. */
export const STALL_LOOK_MS = 1_000;

/**
 * Bytes that a queue must have taken since old messages were dropped from it, before that is done
 * again: going through a full queue takes about 2 ms, so a message must not bear it alone.
 */
export const COMPACTION_BYTES_MIN = SEND_QUEUE_BYTES_MAX / 16;

/** Where less was left, one such part of that is enough: less is to be gone through, too. */
export const COMPACTION_SHARE = 8;

/** Of each topic the newest message stays as long as no more than this waits; then the oldest goes. */
export const LATEST_BYTES_KEPT = (SEND_QUEUE_BYTES_MAX / 4) * 3;

/** Bytes beyond SEND_QUEUE_BYTES_MAX that control frames may still use; then the client is evicted. */
export const SEND_QUEUE_CONTROL_BYTES_MAX = 256 * 1024;

/** Fds waiting for one slow connection. Guess: four full messages. */
export const SEND_QUEUE_FDS_MAX = 1_024;

/** As SEND_QUEUE_BYTES_RESUME, and _HOLD. */
export const SEND_QUEUE_FDS_RESUME = SEND_QUEUE_FDS_MAX / 2;
export const SEND_QUEUE_FDS_HOLD = SEND_QUEUE_FDS_MAX - 256;

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

/**
 * Bytes of large bodies waiting for one slow connection. The memory is the senders', so a reader
 * that stops must not keep much of it; but any one body fits an empty queue. Guess: four of the
 * largest.
 */
export const SEND_QUEUE_MEMORY_BYTES_MAX = 4 * LARGE_BODY_BYTES_MAX;

/** After a drop the queue takes messages again once no more of that waits. */
export const SEND_QUEUE_MEMORY_BYTES_RESUME = SEND_QUEUE_MEMORY_BYTES_MAX / 2;

/** As SEND_QUEUE_BYTES_HOLD; one more body of any size still fits. */
export const SEND_QUEUE_MEMORY_BYTES_HOLD = SEND_QUEUE_MEMORY_BYTES_MAX - LARGE_BODY_BYTES_MAX;

/** Topics whose losses are counted apart in one gap; beyond it the gap speaks of several topics. */
export const GAP_TOPICS_MAX = 64;

/**
 * Bytes that wait for slow connections of one uid, where the policy says nothing else: thirty stalled
 * ones, with full queues. One alone gets half of it, far more than its queue may hold.
 */
export const QUEUED_BYTES_PER_UID_MAX = 128 * 1024 * 1024;

/**
 * Bytes that wait for slow connections of all uids together: eight users who do their worst. A uid
 * gets half of what the others leave free, so that there is always some left for the next.
 */
export const BACKLOG_BYTES_MAX = 8 * QUEUED_BYTES_PER_UID_MAX;
/**
 * Last values at a time in one broker. Each holds its topic, and half of the topics stay for those
 * that are only published on.
 */
export const RETAINED_MAX = TOPICS_MAX / 2;

/**
 * Last values of one uid, its connections that are gone included, where the policy says nothing else:
 * so no user has them all.
 */
export const RETAINED_PER_UID_MAX = RETAINED_MAX / 4;

/**
 * Bytes that a last value is charged for beside its frame, large body and name: what the tables hold
 * of it. Measured (30,000 values of 8 B, resident memory): 1,900.
 */
export const RETAINED_OVERHEAD_BYTES = 2_048;

/**
 * Last values are put into the queue of a new subscriber while no more than this waits there. It is
 * where a queue that was full takes messages again, so that a reader who is always behind with live
 * messages still gets them.
 */
export const REPLAY_QUEUE_BYTES_MAX = SEND_QUEUE_BYTES_RESUME;

/** The same for fds: any one message still fits. */
export const REPLAY_QUEUE_FDS_MAX = SEND_QUEUE_FDS_MAX - MESSAGE_FDS_MAX;

/** The same for bytes of large bodies. */
export const REPLAY_QUEUE_MEMORY_BYTES_MAX = SEND_QUEUE_MEMORY_BYTES_RESUME;

/** Topics that one subscriber is looked through before the next one's turn. */
export const REPLAY_STEPS_PER_LOOK = 64;

/** Milliseconds of one turn spent on giving last values to new subscribers. */
export const REPLAY_MS_PER_TURN = 0.1;

/** Milliseconds of one turn spent on letting go of last values whose time is up. */
export const EXPIRY_MS_PER_TURN = 0.1;

/** Free packets kept for the next burst instead of being left to the garbage collector: 8 MiB. */
export const FREE_PACKETS_KEPT = 128;

/**
 * Messages with fds wait in packets of their own. Those of up to so many bytes come from a pool, since
 * making one takes longer than all else that is done for a message that waits. Guess: most are short.
 */
export const SMALL_PACKET_BYTES = 1_024;

/** The same of these: 256 KiB, enough for a turn of eight busy clients. */
export const FREE_SMALL_PACKETS_KEPT = 256;

/**
 * Fds that wait for one client before they are sent within a turn, in which more may follow. As many
 * messages of one fd as leave by one call (RECORDS_TOGETHER_MAX).
 */
export const FDS_WAITING_TOGETHER = 32;

/**
 * A message with fds for more receivers goes to all of them at once: each that waits takes a copy of the
 * frame. Guess; with 16, waiting gives 1.7 times the rate, since each is woken for many at once.
 */
export const FDS_TOGETHER_RECEIVERS_MAX = 64;

/** The same as FDS_WAITING_TOGETHER for bytes of large bodies: one of any size still fits. */
export const MEMORY_WAITING_TOGETHER = LARGE_BODY_BYTES_MAX;

/**
 * SO_SNDBUF of each accepted socket: bytes the kernel queues for one client before EAGAIN. Root
 * gets it in any case (SO_SNDBUFFORCE), others up to net.core.wmem_max.
 */
export const SOCKET_SEND_BUFFER_BYTES = 1024 * 1024;

/**
 * Bytes of a socket's buffer that are kept for telling a client that does not read why it is closed.
 * A full socket may hold one packet more than its buffer, so doubled, as the kernel does with all
 * these figures, it is more than the largest packet takes.
 */
export const LAST_WORD_BYTES = 40 * 1024;

/**
 * Packets that are thrown away by one step from a connection being closed, so that its end is not a
 * reset: 30 us without fds.
 */
export const DISCARDED_PACKETS_PER_STEP = 32;

/** Fds with them after which the step ends as well, behind the packet that reaches it: 0.2 ms. */
export const DISCARDED_FDS_PER_STEP = 256;

/** Newcomers that are turned away and have so much to be thrown away that it takes more steps. */
export const TURNED_AWAY_MAX = 16;

/**
 * Runs of this many bytes or more go out straight from the receive buffer. Shorter ones are copied
 * into a packet that the next run may join: a copy of 32 KiB costs a tenth of the send that it
 * saves. Measured against 4,096 with 32 KiB packets to 16 (docs/performance.md): 1.3 times the rate.
 */
export const DIRECT_SEND_BYTES_MIN = PACKET_BYTES_MAX / 2 + FRAME_ALIGNMENT_BYTES;

/**
 * Packets read from one connection in one turn, so that no sender starves the others. Small ones
 * leave together at the end of the turn. Measured against 8 with one message a packet: 1.3 times
 * the rate (docs/performance.md).
 */
export const PACKETS_PER_TURN = 32;

/**
 * Bytes read from one connection in one turn; the packet that reaches it is the last, or the last of
 * those that were received together with it.
 */
export const BYTES_PER_TURN = 8 * PACKET_BYTES_MAX;

/**
 * Packets behind one of up to so many bytes are received several at a time. Guess: each has a buffer of
 * its own there, and large ones in one buffer are found in the processor's cache.
 */
export const AHEAD_OF_BYTES_MAX = 2_048;

/** Connections with unsent frames in one turn; at this many they are flushed early. */
export const UNFLUSHED_CONNECTIONS_MAX = 256;

/**
 * Milliseconds of one turn spent on costly work: routes to be computed, requests, wide fan-out. One
 * packet may hold seconds of it (measured: 21 s, for 4,000 new topics to 1,000 subscribers); what
 * is left of it waits for the next turns. More than a share of a turn, which its user then owes.
 */
export const COSTLY_MS_PER_TURN = 2;

/** Destinations served before the router looks at the clock again. Guess: a tenth of a millisecond. */
export const ROUTING_COST_PER_LOOK = 4_096;

/**
 * Messages of one packet that are too large whose sender is told so, one by one: a packet may hold
 * thousands, and the answers must fit the sender's queue. All are counted.
 */
export const REFUSALS_TOLD_PER_PACKET = 16;

/** Users, and units, without a connection whose figures are kept apart. Guess: days of a desktop. */
export const FOLDED_SUMS_MAX = 1_024;

/**
 * Identities that are kept to be shared by later connections of the same process. Enough for the
 * processes that connect again and again; what a process beyond them costs is memory alone.
 * Guess, untuned.
 */
export const POOLED_IDENTITIES_MAX = 256;

/** Bytes of JSON in one answer to QUERY; a longer one has several. Far below the control reserve. */
export const QUERY_ANSWER_BYTES_MAX = 16 * 1024;

/** Entries looked at for one answer to QUERY, those that it does not tell of included. */
export const QUERY_ENTRIES_PER_LOOK = 2_048;

/** Subscribers that are told of those who hold one publisher back: a route may have thousands. */
export const HOLDERS_TOLD_MAX = 16;

/** Milliseconds of one turn spent on work in the background, such as a reload of the policy. */
export const BACKGROUND_MS_PER_TURN = 0.1;

/**
 * Entries of one connection (subscriptions, topics, services, calls) that are worked off in one step
 * when it ends, and when its rights are decided anew after a reload: 1 to 5 us each.
 */
export const ENTRIES_PER_STEP = 64;

/**
 * Milliseconds of one turn spent on those who come and those who go: letting in, welcoming, closing.
 * Each takes 10 to 50 us, and the first of each is done whatever it takes (closing one that a thousand
 * others heard of: 2.5 ms). Everybody else waits meanwhile, also where thousands come or die at once.
 */
export const COMINGS_AND_GOINGS_MS_PER_TURN = 0.05;

/** Milliseconds between visits to the runtime's own event loop (signals, timers) when busy. */
export const RUNTIME_YIELD_INTERVAL_MS = 10;

/**
 * Milliseconds of a wait that is short: the broker stays awake for as long where it expects one. About
 * what it costs to go to sleep, and to be woken on another core.
 */
export const SHORT_WAIT_MS = 0.05;

/** Short waits in a row before the next one is expected to be short, too. Guess. */
export const SHORT_WAITS_BEFORE_WATCH = 4;

/**
 * Short waits that must follow one that was expected to be short and was not; twice as many after
 * each further one, up to the maximum.
 */
export const FAILED_WATCH_WAITS = 8;
export const FAILED_WATCH_WAITS_MAX = 1_024;

/** Milliseconds that the reactor may sleep in the kernel when idle. */
export const IDLE_WAIT_MS = 1_000;

/**
 * Fds of one uid's that may be closing at a time, or a quarter of what the broker may open where that
 * is less. Then nothing more is read from it, and where none of them is closed for CLOSE_STUCK_MS its
 * connections are ended. Guess: four full messages.
 */
export const FDS_CLOSING_PER_UID_MAX = 1_024;

/** Threads that close fds, each for one uid at a time: so many uids may hang at once. 4.5 MiB each. */
export const CLOSING_LANES_MAX = 4;

/** Fds that such a thread is given at a time, a power of two. Then another uid has its turn. */
export const CLOSING_RING_FDS = 256;

/** Milliseconds after which a uid that waits for such a thread is thought of again. */
export const CLOSING_LOOK_MS = 20;

/** Milliseconds until a thread is started again that could not be, for want of fds or memory. */
export const CLOSING_RETRY_MS = 100;

/** Milliseconds without progress after which a close is said to hang. */
export const CLOSE_STUCK_MS = 1_000;

/**
 * Milliseconds that closing a file may take before it counts against the `fds` of its user. A close
 * takes 20 to 60 us on its thread, so 1,024 of one user are done long before; while they are not,
 * they count among the files that the broker has open, as always. Guess.
 */
export const CLOSING_GRACE_MS = 500;

/** Milliseconds that a clean shutdown waits for closes that may hang. */
export const CLOSING_DRAIN_MS = 250;

/** Milliseconds that a clean shutdown waits for clients to take what is queued for them. */
export const SHUTDOWN_DRAIN_MS = 1_000;

assert(SEND_QUEUE_BYTES_MAX >= 2 * PACKET_BYTES_MAX, "a queue holds more than one packet");
assert(
  SEND_QUEUE_BYTES_HOLD + PACKET_BYTES_MAX <= SEND_QUEUE_BYTES_MAX,
  "what is routed before publishers are held back fits",
);
assert(SEND_QUEUE_FDS_HOLD + MESSAGE_FDS_MAX <= SEND_QUEUE_FDS_MAX, "so do the fds of a message");
assert(
  FDS_WAITING_TOGETHER + MESSAGE_FDS_MAX < SEND_QUEUE_FDS_HOLD,
  "no publisher is held back for fds that wait for each other",
);
assert(
  MEMORY_WAITING_TOGETHER + LARGE_BODY_BYTES_MAX <= SEND_QUEUE_MEMORY_BYTES_HOLD,
  "nor for large bodies",
);
assert(SEND_QUEUE_BYTES_RESUME < SEND_QUEUE_BYTES_HOLD, "holding back does not end at once");
assert(SEND_QUEUE_MEMORY_BYTES_MAX >= LARGE_BODY_BYTES_MAX, "any body fits an empty queue");
assert(REPLAY_QUEUE_BYTES_MAX + PACKET_BYTES_MAX <= SEND_QUEUE_BYTES_MAX, "a last value fits");
assert(SEND_QUEUE_CONTROL_BYTES_MAX >= PACKET_BYTES_MAX, "any control frame fits the reserve");
assert(CLOSING_GRACE_MS <= CLOSE_STUCK_MS, "what is said to hang is charged");
assert((CLOSING_RING_FDS & (CLOSING_RING_FDS - 1)) === 0, "the ring wraps around with its counts");
assert(FAILED_WATCH_WAITS <= FAILED_WATCH_WAITS_MAX, "a failure is never forgotten at once");
assert(DIRECT_SEND_BYTES_MIN <= PACKET_BYTES_MAX, "a full packet may go out directly");
