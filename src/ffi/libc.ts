/**
 * The one place that opens the C library. Everything else in src/ffi calls through `libc`; nothing
 * outside src/ffi may import this file, since a wrong argument here corrupts the process.
 *
 * How the types are chosen (bun:ffi of Bun 1.4, inside JavaScriptCore):
 * - addresses are always "ptr", because a double passed as "u64" leaves the fast path;
 * - lengths are "u64" with small numbers, which stay on the fast path;
 * - ssize_t results are "i32": no call of ours moves 2 GiB, and "i64" would make a BigInt each time;
 * - the variable argument of fcntl is "u64", so all 64 bits of its register are defined;
 * - memcpy returns "void", because boxing an address that nobody reads costs a slow call.
 *
 * The number of arguments at each call must match exactly, or the call leaves the fast path.
 * The library is never closed: calling a symbol of a closed library is undefined behaviour.
 */

import { dlopen, type FFIFunction } from "bun:ffi";
import { ConfigError } from "../errors.ts";

/** The C functions in use, with the C parameter beside each type. Same on glibc and musl, LP64. */
const SYMBOLS = {
  // Sockets: socket(2), unix(7)
  socket: { args: [/* domain */ "i32", /* type */ "i32", /* protocol */ "i32"], returns: "i32" },
  socketpair: {
    args: [/* domain */ "i32", /* type */ "i32", /* protocol */ "i32", /* int sv[2] */ "ptr"],
    returns: "i32",
  },
  bind: { args: [/* fd */ "i32", /* sockaddr* */ "ptr", /* socklen_t */ "u32"], returns: "i32" },
  listen: { args: [/* fd */ "i32", /* backlog */ "i32"], returns: "i32" },
  connect: { args: [/* fd */ "i32", /* sockaddr* */ "ptr", /* socklen_t */ "u32"], returns: "i32" },
  accept4: {
    args: [/* fd */ "i32", /* sockaddr* */ "ptr", /* socklen_t* */ "ptr", /* flags */ "i32"],
    returns: "i32",
  },
  send: {
    args: [/* fd */ "i32", /* void* buf */ "ptr", /* size_t len */ "u64", /* flags */ "i32"],
    returns: "i32", // ssize_t
  },
  sendmsg: {
    args: [/* fd */ "i32", /* msghdr* */ "ptr", /* flags */ "i32"],
    returns: "i32", // ssize_t
  },
  sendmmsg: {
    args: [/* fd */ "i32", /* mmsghdr* */ "ptr", /* count */ "u32", /* flags */ "i32"],
    returns: "i32",
  },
  recvmsg: {
    args: [/* fd */ "i32", /* msghdr* */ "ptr", /* flags */ "i32"],
    returns: "i32", // ssize_t
  },
  recvmmsg: {
    args: [
      /* fd */ "i32",
      /* mmsghdr* */ "ptr",
      /* count */ "u32",
      /* flags */ "i32",
      /* timespec* */ "ptr",
    ],
    returns: "i32",
  },
  shutdown: { args: [/* fd */ "i32", /* how */ "i32"], returns: "i32" },
  getsockopt: {
    args: [
      /* fd */ "i32",
      /* level */ "i32",
      /* optname */ "i32",
      /* void* optval */ "ptr",
      /* socklen_t* optlen */ "ptr",
    ],
    returns: "i32",
  },
  setsockopt: {
    args: [
      /* fd */ "i32",
      /* level */ "i32",
      /* optname */ "i32",
      /* void* optval */ "ptr",
      /* socklen_t optlen */ "u32",
    ],
    returns: "i32",
  },

  // Readiness: epoll(7), poll(2)
  epoll_create1: { args: [/* flags */ "i32"], returns: "i32" },
  epoll_ctl: {
    args: [/* epfd */ "i32", /* op */ "i32", /* fd */ "i32", /* epoll_event* */ "ptr"],
    returns: "i32",
  },
  epoll_wait: {
    args: [/* epfd */ "i32", /* epoll_event* */ "ptr", /* maxevents */ "i32", /* ms */ "i32"],
    returns: "i32",
  },
  poll: { args: [/* pollfd* */ "ptr", /* nfds_t */ "u64", /* ms */ "i32"], returns: "i32" },

  // Files and memory: open(2), read(2), close(2), fcntl(2), ioctl(2), readlink(2), memfd_create(2),
  // ftruncate(2), pread(2), pwrite(2), mmap(2), munmap(2), flock(2), memcpy(3)
  open: { args: [/* char* path */ "ptr", /* flags, nothing to create */ "i32"], returns: "i32" },
  read: {
    args: [/* fd */ "i32", /* void* buf */ "ptr", /* size_t */ "u64"],
    returns: "i32", // ssize_t
  },
  close: { args: [/* fd */ "i32"], returns: "i32" },
  fcntl: { args: [/* fd */ "i32", /* cmd */ "i32", /* arg */ "u64"], returns: "i32" },
  ioctl: { args: [/* fd */ "i32", /* request */ "u64", /* argp */ "ptr"], returns: "i32" },
  readlink: {
    args: [/* char* path */ "ptr", /* char* buf */ "ptr", /* size_t */ "u64"],
    returns: "i32", // ssize_t
  },
  memfd_create: { args: [/* char* name */ "ptr", /* flags */ "u32"], returns: "i32" },
  ftruncate: { args: [/* fd */ "i32", /* off_t */ "i64"], returns: "i32" },
  pread: {
    args: [/* fd */ "i32", /* void* buf */ "ptr", /* size_t */ "u64", /* off_t */ "i64"],
    returns: "i32", // ssize_t
  },
  pwrite: {
    args: [/* fd */ "i32", /* void* buf */ "ptr", /* size_t */ "u64", /* off_t */ "i64"],
    returns: "i32", // ssize_t
  },
  mmap: {
    args: [
      /* void* address */ "ptr",
      /* size_t length */ "u64",
      /* protection */ "i32",
      /* flags */ "i32",
      /* fd */ "i32",
      /* off_t offset */ "i64",
    ],
    returns: "ptr",
  },
  munmap: { args: [/* void* address */ "ptr", /* size_t length */ "u64"], returns: "i32" },
  flock: { args: [/* fd */ "i32", /* operation */ "i32"], returns: "i32" },
  memcpy: { args: [/* dest */ "ptr", /* src */ "ptr", /* size_t */ "u64"], returns: "void" },
  memmove: { args: [/* dest */ "ptr", /* src */ "ptr", /* size_t */ "u64"], returns: "void" },
  // syscall(2), for openat2(2) and statx(2): the C library wraps them late or never
  syscall: {
    args: [
      /* number */ "i64",
      /* int dirfd */ "i64",
      /* char* path */ "ptr",
      /* open_how*, or int flags */ "u64",
      /* size_t, or unsigned mask */ "u64",
      /* statx* */ "ptr",
    ],
    returns: "i32", // long
  },

  // Identity: credentials(7), getpwnam(3), getgrnam(3), getrlimit(2)
  setgroups: { args: [/* size_t */ "u64", /* gid_t* */ "ptr"], returns: "i32" },
  setresuid: { args: [/* ruid */ "u32", /* euid */ "u32", /* suid */ "u32"], returns: "i32" },
  setresgid: { args: [/* rgid */ "u32", /* egid */ "u32", /* sgid */ "u32"], returns: "i32" },
  getresuid: { args: [/* ruid* */ "ptr", /* euid* */ "ptr", /* suid* */ "ptr"], returns: "i32" },
  getresgid: { args: [/* rgid* */ "ptr", /* egid* */ "ptr", /* sgid* */ "ptr"], returns: "i32" },
  getpwnam_r: {
    args: [
      /* char* name */ "ptr",
      /* passwd* */ "ptr",
      /* char* buf */ "ptr",
      /* size_t buflen */ "u64",
      /* passwd** result */ "ptr",
    ],
    returns: "i32", // an errno, 0 for success
  },
  getpwuid_r: {
    args: [
      /* uid_t */ "u32",
      /* passwd* */ "ptr",
      /* char* buf */ "ptr",
      /* size_t buflen */ "u64",
      /* passwd** result */ "ptr",
    ],
    returns: "i32", // an errno, 0 for success
  },
  getgrnam_r: {
    args: [
      /* char* name */ "ptr",
      /* group* */ "ptr",
      /* char* buf */ "ptr",
      /* size_t buflen */ "u64",
      /* group** result */ "ptr",
    ],
    returns: "i32", // an errno, 0 for success
  },
  getgrgid_r: {
    args: [
      /* gid_t */ "u32",
      /* group* */ "ptr",
      /* char* buf */ "ptr",
      /* size_t buflen */ "u64",
      /* group** result */ "ptr",
    ],
    returns: "i32", // an errno, 0 for success
  },
  getrlimit: { args: [/* resource */ "i32", /* rlimit* */ "ptr"], returns: "i32" },
  setrlimit: { args: [/* resource */ "i32", /* rlimit* */ "ptr"], returns: "i32" },

  // Processes: clone(2), waitpid(2), pthread_sigmask(3), setenv(3), execv(3)
  clone: {
    args: [
      /* int (*fn)(void*) */ "ptr",
      /* void* stack, its end */ "ptr",
      /* flags */ "i32",
      /* void* arg, given to fn */ "u64",
    ],
    returns: "i32",
  },
  waitpid: {
    args: [/* pid */ "i32", /* int* status */ "ptr", /* options */ "i32"],
    returns: "i32",
  },
  pthread_sigmask: {
    args: [/* how */ "i32", /* sigset_t* set */ "ptr", /* sigset_t* old */ "ptr"],
    returns: "i32", // an errno, 0 for success
  },
  setenv: {
    args: [/* char* name */ "ptr", /* char* value */ "ptr", /* overwrite */ "i32"],
    returns: "i32",
  },
  execv: { args: [/* char* path */ "ptr", /* char* argv[] */ "ptr"], returns: "i32" },

  // errno(3): the same name on glibc and musl; a different address in each thread
  __errno_location: { args: [], returns: "ptr" },
} as const satisfies Record<string, FFIFunction>;

/**
 * Names a C library may have on this machine, the likely one first.
 * @param platform process.platform
 * @param arch process.arch
 * @throws {ConfigError} CONFIG_PLATFORM for anything but Linux on x64 or arm64
 */
export function libcNames(platform: string, arch: string): readonly string[] {
  if (platform !== "linux") {
    throw new ConfigError(
      "CONFIG_PLATFORM",
      `Cannot run on ${platform}: seqbus needs Linux, for SOCK_SEQPACKET with SO_PEERCRED`,
    );
  }
  if (arch === "x64") return ["libc.so.6", "libc.musl-x86_64.so.1"];
  if (arch === "arm64") return ["libc.so.6", "libc.musl-aarch64.so.1"];
  throw new ConfigError(
    "CONFIG_PLATFORM",
    `Cannot run on ${arch}: seqbus knows the C struct layouts of x64 and arm64 only`,
  );
}

function openLibc() {
  let cause: unknown;
  for (const name of libcNames(process.platform, process.arch)) {
    try {
      return dlopen(name, SYMBOLS).symbols;
    } catch (error) {
      // Without JIT the first name fails too, and that failure says more than the second one.
      cause ??= error;
    }
  }
  const reason = cause instanceof Error ? cause.message : String(cause);
  throw new ConfigError(
    "CONFIG_PLATFORM",
    `Cannot load the C library: ${reason} (needs glibc or musl, and a runtime that may use its JIT)`,
    {},
    { cause },
  );
}

/**
 * The C functions themselves. Callers range-check first and keep the buffers they pass referenced.
 * Importing this file throws ConfigError CONFIG_PLATFORM where seqbus cannot run.
 */
export const libc = openLibc();
