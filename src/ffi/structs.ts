/**
 * Layouts of C structs on Linux LP64, little-endian (x86-64 and arm64), with the functions that pack
 * and unpack them. Pure: works on views of memory that the caller owns and never calls C.
 *
 * glibc and musl agree on all of these. Where musl declares a 32-bit length with 32 bits of padding
 * (msg_iovlen, msg_controllen, cmsg_len), the 64-bit field of the kernel reads the same, as long as
 * the padding is zero; so these fields are always written as 64 bits.
 *
 * Offsets are bytes. `words` are u32 views, so byte offset n is word n / 4.
 */

import { assert } from "../assert.ts";
import { ConfigError } from "../errors.ts";

const TWO_POW_32 = 0x1_0000_0000;

/**
 * struct sockaddr_un, unix(7):
 *
 *     0   u16   sun_family
 *     2   char  sun_path[108], the last byte kept for NUL
 */
export const SOCKADDR_UN_BYTES = 110;
export const SOCKADDR_UN_PATH_OFFSET = 2;
export const SOCKADDR_UN_PATH_BYTES_MAX = 107;

/**
 * struct msghdr, recvmsg(2):
 *
 *     0   ptr   msg_name
 *     8   u32   msg_namelen, 4 bytes padding
 *     16  ptr   msg_iov
 *     24  u64   msg_iovlen
 *     32  ptr   msg_control
 *     40  u64   msg_controllen
 *     48  i32   msg_flags, 4 bytes padding
 */
export const MSGHDR_BYTES = 56;
export const MSGHDR_IOV_OFFSET = 16;
export const MSGHDR_IOVLEN_OFFSET = 24;
export const MSGHDR_CONTROL_OFFSET = 32;
export const MSGHDR_CONTROLLEN_OFFSET = 40;
export const MSGHDR_FLAGS_OFFSET = 48;

/**
 * struct mmsghdr, sendmmsg(2) and recvmmsg(2): a struct msghdr, then
 *
 *     56  u32   msg_len, 4 bytes padding
 */
export const MMSGHDR_BYTES = 64;
export const MMSGHDR_LEN_OFFSET = 56;

/**
 * struct iovec, readv(2):
 *
 *     0   ptr   iov_base
 *     8   u64   iov_len
 */
export const IOVEC_BYTES = 16;
export const IOVEC_LEN_OFFSET = 8;

/**
 * struct cmsghdr, cmsg(3); the data follows, and the next header starts at a multiple of 8:
 *
 *     0   u64   cmsg_len, header included, padding not
 *     8   i32   cmsg_level
 *     12  i32   cmsg_type
 *     16  ...   data
 */
export const CMSGHDR_BYTES = 16;
export const CMSGHDR_LEVEL_OFFSET = 8;
export const CMSGHDR_TYPE_OFFSET = 12;

/**
 * struct ucred, unix(7):
 *
 *     0   i32   pid
 *     4   u32   uid
 *     8   u32   gid
 */
export const UCRED_BYTES = 12;
export const UCRED_UID_OFFSET = 4;
export const UCRED_GID_OFFSET = 8;

/**
 * struct pollfd, poll(2):
 *
 *     0   i32   fd
 *     4   i16   events
 *     6   i16   revents
 */
export const POLLFD_BYTES = 8;
export const POLLFD_EVENTS_OFFSET = 4;

/**
 * struct rlimit, getrlimit(2):
 *
 *     0   u64   rlim_cur
 *     8   u64   rlim_max
 */
export const RLIMIT_BYTES = 16;
export const RLIMIT_MAX_OFFSET = 8;

/**
 * struct passwd, getpwnam(3):
 *
 *     0   ptr   pw_name
 *     8   ptr   pw_passwd
 *     16  u32   pw_uid
 *     20  u32   pw_gid
 *     24  ptr   pw_gecos, pw_dir, pw_shell
 */
export const PASSWD_BYTES = 48;
export const PASSWD_UID_OFFSET = 16;
export const PASSWD_GID_OFFSET = 20;

/**
 * struct group, getgrnam(3):
 *
 *     0   ptr   gr_name
 *     8   ptr   gr_passwd
 *     16  u32   gr_gid, 4 bytes padding
 *     24  ptr   gr_mem
 */
export const GROUP_BYTES = 32;
export const GROUP_GID_OFFSET = 16;

/**
 * struct open_how, openat2(2):
 *
 *     0   u64   flags
 *     8   u64   mode
 *     16  u64   resolve
 */
export const OPEN_HOW_BYTES = 24;
export const OPEN_HOW_RESOLVE_OFFSET = 16;

/**
 * struct statx, statx(2); what is left out here is not read:
 *
 *     0    u32   stx_mask, what the kernel could tell
 *     28   u16   stx_mode
 *     32   u64   stx_ino
 *     40   u64   stx_size
 *     48   u64   stx_blocks, of 512 bytes
 *     128  u32   stx_rdev_major
 *     136  u32   stx_dev_major
 *     140  u32   stx_dev_minor
 */
export const STATX_BYTES = 256;
export const STATX_MODE_OFFSET = 28;
export const STATX_INO_OFFSET = 32;
export const STATX_SIZE_OFFSET = 40;
export const STATX_BLOCKS_OFFSET = 48;
export const STATX_RDEV_MAJOR_OFFSET = 128;
export const STATX_DEV_MAJOR_OFFSET = 136;
export const STATX_DEV_MINOR_OFFSET = 140;

/**
 * struct pidfd_info, linux/pidfd.h, in its first size; what is left out here is not read:
 *
 *     0    u64   mask: what is asked for, and then what the kernel told
 *     8    u64   cgroupid
 *     16   u32   pid
 */
export const PIDFD_INFO_BYTES = 64;
export const PIDFD_INFO_CGROUPID_OFFSET = 8;
export const PIDFD_INFO_PID_OFFSET = 16;

/** Where the fields of struct epoll_event are; the events always start at byte 0. */
export interface EpollEventLayout {
  readonly bytes: number;
  /** Byte offset of the 64-bit data field. */
  readonly dataOffset: number;
}

/**
 * struct epoll_event, epoll_ctl(2). The kernel packs it on x86-64 alone:
 *
 *     x86-64   0  u32 events   4  u64 data                       12 bytes
 *     arm64    0  u32 events   (4 bytes padding)   8  u64 data   16 bytes
 *
 * @param arch process.arch
 * @throws {ConfigError} CONFIG_PLATFORM for an architecture whose layout is not known
 */
export function epollEventLayout(arch: string): EpollEventLayout {
  if (arch === "x64") return { bytes: 12, dataOffset: 4 };
  if (arch === "arm64") return { bytes: 16, dataOffset: 8 };
  throw new ConfigError("CONFIG_PLATFORM", `Cannot lay out struct epoll_event for ${arch}`);
}

/**
 * CMSG_ALIGN(3): rounds up to a multiple of 8.
 * @param bytes 0 or more
 */
export function alignControl(bytes: number): number {
  return (bytes + 7) & ~7;
}

/**
 * CMSG_SPACE(3): room that an ancillary message takes, header and padding included.
 * @param dataBytes of its data
 */
export function controlSpace(dataBytes: number): number {
  return CMSGHDR_BYTES + alignControl(dataBytes);
}

/**
 * Writes a 64-bit number, such as an address or a size_t.
 * @param words the memory, borrowed
 * @param byteOffset a multiple of 4
 * @param value 0..2^53-1
 */
export function packU64(words: Uint32Array, byteOffset: number, value: number): void {
  const index = byteOffset >>> 2;
  words[index] = value >>> 0;
  words[index + 1] = Math.floor(value / TWO_POW_32);
}

/**
 * Reads a 64-bit number. Exact below 2^53; above, the nearest double.
 * @param words the memory, borrowed
 * @param byteOffset a multiple of 4
 */
export function unpackU64(words: Uint32Array, byteOffset: number): number {
  return unpackU32(words, byteOffset + 4) * TWO_POW_32 + unpackU32(words, byteOffset);
}

/**
 * Reads a 32-bit number.
 * @param words the memory, borrowed
 * @param byteOffset a multiple of 4 inside it; outside is a bug
 */
export function unpackU32(words: Uint32Array, byteOffset: number): number {
  const value = words[byteOffset >>> 2];
  assert(value !== undefined, "the offset lies inside the struct");
  return value;
}

/** What packMessageHeader() points to. */
export interface MessageHeaderFields {
  readonly iovecAddress: number;
  readonly controlAddress: number;
  readonly controlBytes: number;
}

/**
 * Writes a struct msghdr with one iovec, no name and no flags.
 * @param words the memory, borrowed; all 56 bytes are written
 * @param byteOffset a multiple of 8
 */
export function packMessageHeader(
  words: Uint32Array,
  byteOffset: number,
  fields: MessageHeaderFields,
): void {
  words.fill(0, byteOffset >>> 2, (byteOffset + MSGHDR_BYTES) >>> 2);
  packU64(words, byteOffset + MSGHDR_IOV_OFFSET, fields.iovecAddress);
  packU64(words, byteOffset + MSGHDR_IOVLEN_OFFSET, 1);
  packU64(words, byteOffset + MSGHDR_CONTROL_OFFSET, fields.controlAddress);
  packU64(words, byteOffset + MSGHDR_CONTROLLEN_OFFSET, fields.controlBytes);
}

/**
 * Writes a struct sockaddr_un.
 * @param target at least SOCKADDR_UN_BYTES long, borrowed
 * @param family AF_UNIX
 * @param path 1..SOCKADDR_UN_PATH_BYTES_MAX bytes without NUL
 * @returns the length of the address in bytes, its NUL included, as bind(2) wants it
 */
export function packSocketAddress(target: Uint8Array, family: number, path: Uint8Array): number {
  assert(path.length >= 1, "a pathname address has a path");
  assert(path.length <= SOCKADDR_UN_PATH_BYTES_MAX, "the path fits struct sockaddr_un");
  target.fill(0, 0, SOCKADDR_UN_BYTES);
  target[0] = family;
  target.set(path, SOCKADDR_UN_PATH_OFFSET);
  return SOCKADDR_UN_PATH_OFFSET + path.length + 1;
}
