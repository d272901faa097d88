/**
 * Limits that both sides of the wire must know. Each is written here once; docs/protocol.md and
 * docs/architecture.md are checked against these values. Limits of the broker alone stand in
 * src/broker/limits.ts, those of the client library in src/client/limits.ts.
 */

import { assert } from "../assert.ts";

/** The version that HELLO carries. Raised when an old peer could misread a new one. */
export const PROTOCOL_VERSION = 1;

/** Bytes of a frame's header. The layout stands in frame.ts. */
export const FRAME_HEADER_BYTES = 16;

/** Frames start at multiples of this, so headers can be read as aligned 32-bit words. */
export const FRAME_ALIGNMENT_BYTES = 8;

/**
 * Bytes of the largest packet. Below a quarter of the kernel's default SO_SNDBUF (212,992), so a
 * socket with one such packet queued is still writable for epoll (EPOLLOUT needs 3/4 free).
 */
export const PACKET_BYTES_MAX = 65_536;

/** Bytes of the largest message body that one packet can carry. */
export const MESSAGE_BODY_BYTES_MAX = PACKET_BYTES_MAX - FRAME_HEADER_BYTES;

/** Bytes before the body proper of REQUEST and RETAIN: two u32. */
export const BODY_PREFIX_BYTES = 8;

/** Fds of a CHANNEL frame: an end of the packet socket, and one of the lane. */
export const CHANNEL_FDS = 2;

/** Parts of a streamed reply that a service may send before it is given credit. Guess. */
export const STREAM_CREDIT_START = 64;

/** Bytes of the name of a queue group. */
export const GROUP_BYTES_MAX = 64;

/** Members of a service that SERVICE and the ACK of WATCH name. */
export const SERVICE_OWNERS_TOLD_MAX = 256;

/** Bytes that stand in for the body of a large message: its length as u64. */
export const LARGE_SIZE_BYTES = 8;

/** Bytes of the largest message body, in memory of its own. Guess: a raw 4K image fits. */
export const LARGE_BODY_BYTES_MAX = 64 * 1024 * 1024;

/** Frames in one packet at most: all of them bare headers. */
export const PACKET_FRAMES_MAX = PACKET_BYTES_MAX / FRAME_HEADER_BYTES;

/** File descriptors with one message: the kernel's SCM_MAX_FD (include/net/scm.h). */
export const MESSAGE_FDS_MAX = 253;

/** Bytes of the largest control body from a client. Guess: 16 times the longest topic name. */
export const CONTROL_BODY_BYTES_MAX = 4_096;

/** How deep maps and arrays may nest in a control body. None needs more than 2 today. */
export const CONTROL_BODY_DEPTH_MAX = 4;

/** Bytes of the longest topic name or pattern. */
export const TOPIC_BYTES_MAX = 255;

/** Tokens of the longest topic name or pattern. */
export const TOPIC_TOKENS_MAX = 16;

/** Supplementary groups that a SENDER frame names; the policy always sees all of them. */
export const SENDER_GROUPS_MAX = 256;

/** Bytes of the free text in HELLO that goes to the log. Guess: a name and a version fit. */
export const SOFTWARE_BYTES_MAX = 64;

/** Bytes of one record on the fd lane: u32 sequence, u32 fd count. */
export const LANE_RECORD_BYTES = 8;

assert(PACKET_BYTES_MAX % FRAME_ALIGNMENT_BYTES === 0, "a full packet ends on a frame boundary");
assert(LARGE_BODY_BYTES_MAX < 2 ** 31, "a body's length fits what one system call can move");
assert(FRAME_HEADER_BYTES % FRAME_ALIGNMENT_BYTES === 0, "bodies start aligned");
assert(
  CONTROL_BODY_BYTES_MAX + FRAME_HEADER_BYTES <= PACKET_BYTES_MAX,
  "the largest control frame fits one packet",
);
assert(SENDER_GROUPS_MAX * 5 < CONTROL_BODY_BYTES_MAX / 2, "a SENDER frame fits a control body");
