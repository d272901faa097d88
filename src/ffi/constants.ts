/**
 * Constants of the Linux kernel ABI in kernel spelling. Where nothing else is said, the numbers are
 * the same on x86-64 and arm64. Only numbers belong here: texts are in syscall-result.ts, sizes and
 * offsets in structs.ts.
 */

// socket(2)
export const AF_UNIX = 1;
export const SOCK_SEQPACKET = 5;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const SHUT_RDWR = 2;

// socket(7), unix(7): options of the level SOL_SOCKET
export const SOL_SOCKET = 1;
export const SO_TYPE = 3;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
/** Each received packet brings the SCM_CREDENTIALS of its sender. */
export const SO_PASSCRED = 16;
export const SO_PEERCRED = 17;
export const SO_ACCEPTCONN = 30;
/** Label that a security module gave the peer. */
export const SO_PEERSEC = 31;
/** Like SO_SNDBUF, but above net.core.wmem_max; needs CAP_NET_ADMIN. */
export const SO_SNDBUFFORCE = 32;
/** Like SO_RCVBUF, but above net.core.rmem_max; needs CAP_NET_ADMIN. */
export const SO_RCVBUFFORCE = 33;
export const SO_DOMAIN = 39;
/** Supplementary groups of the peer; Linux 4.13. */
export const SO_PEERGROUPS = 59;
/** A pidfd of the peer; Linux 6.5. */
export const SO_PEERPIDFD = 77;
/** Whether others may send fds to the socket; on by default. Linux 6.16. */
export const SO_PASSRIGHTS = 83;

// send(2), recv(2)
export const MSG_CTRUNC = 0x08;
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_CMSG_CLOEXEC = 0x4000_0000;

// unix(7): ancillary messages of the level SOL_SOCKET
export const SCM_RIGHTS = 1;
export const SCM_CREDENTIALS = 2;
/** Most fds that one SCM_RIGHTS message can carry: include/net/scm.h. */
export const SCM_MAX_FD = 253;

// epoll(7)
export const EPOLL_CLOEXEC = 0o2000000;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
export const EPOLLIN = 0x001;
export const EPOLLOUT = 0x004;
export const EPOLLERR = 0x008;
export const EPOLLHUP = 0x010;
export const EPOLLRDHUP = 0x2000;
/** Bits above 2^30 read back unsigned, as Epoll.events() returns them. */
export const EPOLLONESHOT = 0x4000_0000;
export const EPOLLET = 0x8000_0000;

// unix(7); the same number as TIOCOUTQ
export const SIOCOUTQ = 0x5411;

// poll(2)
export const POLLIN = 0x001;
export const POLLNVAL = 0x020;

// fcntl(2)
export const F_GETFD = 1;
export const F_GETFL = 3;
export const FD_CLOEXEC = 1;
export const F_DUPFD_CLOEXEC = 1030;
export const F_ADD_SEALS = 1033;
export const F_GET_SEALS = 1034;
export const F_SEAL_SEAL = 0x01;
export const F_SEAL_SHRINK = 0x02;
export const F_SEAL_GROW = 0x04;
export const F_SEAL_WRITE = 0x08;
/** Linux 5.1. */
export const F_SEAL_FUTURE_WRITE = 0x10;

// mmap(2)
export const PROT_READ = 0x1;
export const PROT_WRITE = 0x2;
export const MAP_PRIVATE = 0x02;

// memfd_create(2)
export const MFD_CLOEXEC = 0x1;
export const MFD_ALLOW_SEALING = 0x2;
/** Linux 6.3; older kernels answer EINVAL. */
export const MFD_NOEXEC_SEAL = 0x8;

// open(2): four flags have other numbers on arm64
const arm64 = process.arch === "arm64";
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_ACCMODE = 3;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;
export const O_DIRECTORY = arm64 ? 0o40000 : 0o200000;
export const O_NOFOLLOW = arm64 ? 0o100000 : 0o400000;
export const O_DIRECT = arm64 ? 0o200000 : 0o40000;
export const O_LARGEFILE = arm64 ? 0o400000 : 0o100000;

// ioctl(2) on a pidfd, since Linux 6.13
/** _IOWR(0xff, 11, struct pidfd_info), in its first size: 64 bytes. */
export const PIDFD_GET_INFO = 0xc040_ff0b;
export const PIDFD_INFO_PID = 0x1;
export const PIDFD_INFO_CGROUPID = 0x4;

// openat2(2): no wrapper in the C library; RESOLVE_CACHED is of Linux 5.12
export const SYS_OPENAT2 = 437;
export const AT_FDCWD = -100;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_CACHED = 0x20;

// statx(2): older C libraries have no wrapper
export const SYS_STATX = arm64 ? 291 : 332;
export const AT_EMPTY_PATH = 0x1000;
export const AT_STATX_DONT_SYNC = 0x4000;
export const STATX_TYPE = 0x1;
export const STATX_INO = 0x100;
export const STATX_SIZE = 0x200;
export const STATX_BLOCKS = 0x400;

// inode(7): the type bits of a mode
export const S_IFMT = 0o170000;
export const S_IFIFO = 0o010000;
export const S_IFCHR = 0o020000;
export const S_IFDIR = 0o040000;
export const S_IFBLK = 0o060000;
export const S_IFREG = 0o100000;
export const S_IFSOCK = 0o140000;

// clone(2), waitpid(2), pthread_sigmask(3)
export const CLONE_VM = 0x100;
export const CLONE_FILES = 0x400;
export const CLONE_VFORK = 0x4000;
/** __WALL: also children that were made without an exit signal. */
export const WALL = 0x4000_0000;
export const SIG_SETMASK = 2;

// flock(2)
export const LOCK_EX = 2;
export const LOCK_NB = 4;

// getrlimit(2)
export const RLIMIT_NOFILE = 7;

// errno(3)
export const EPERM = 1;
export const ENOENT = 2;
export const ESRCH = 3;
export const EINTR = 4;
export const EIO = 5;
export const EBADF = 9;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EFAULT = 14;
export const EBUSY = 16;
export const EEXIST = 17;
export const ENODEV = 19;
export const ENOTDIR = 20;
export const EISDIR = 21;
export const EINVAL = 22;
export const ENFILE = 23;
export const EMFILE = 24;
export const EFBIG = 27;
export const ENOSPC = 28;
export const EROFS = 30;
export const EPIPE = 32;
export const ERANGE = 34;
export const ENAMETOOLONG = 36;
export const ENOLCK = 37;
export const ENOSYS = 38;
export const ELOOP = 40;
export const ENODATA = 61;
export const EPROTO = 71;
export const ENOTSOCK = 88;
export const EMSGSIZE = 90;
export const EPROTOTYPE = 91;
export const ENOPROTOOPT = 92;
export const EPROTONOSUPPORT = 93;
export const EOPNOTSUPP = 95;
export const EAFNOSUPPORT = 97;
export const EADDRINUSE = 98;
export const EADDRNOTAVAIL = 99;
export const ECONNABORTED = 103;
export const ECONNRESET = 104;
export const ENOBUFS = 105;
export const EISCONN = 106;
export const ENOTCONN = 107;
export const ETOOMANYREFS = 109;
export const ETIMEDOUT = 110;
export const ECONNREFUSED = 111;
export const EINPROGRESS = 115;
export const EDQUOT = 122;
