/*
 * The floor in C: a relay over SOCK_SEQPACKET that forwards whole packets, with their fds, and does
 * nothing else. No protocol, no policy, no queue. Only a yardstick; bench/floor-relay.ts is the same
 * in TypeScript.
 *
 * Usage: relay PATH [stretches]. Prints one line when it listens. A client first sends a record of 8
 * bytes whose first bit 2 says that it receives; the record goes back to it.
 *
 * With "stretches" it does what is there in as few system calls as the kernel has for it: up to 32
 * packets by recvmmsg(2), all of them to each receiver by sendmmsg(2), their fds by close_range(2).
 */

#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

enum {
  PACKET_BYTES_MAX = 65536,
  /* As in the broker (src/broker/reading/limits.ts) and floor-relay.ts, so that all are alike. */
  PACKETS_PER_TURN = 32,
  BYTES_PER_TURN = 8 * PACKET_BYTES_MAX,
  SEND_BUFFER_BYTES = 1024 * 1024,
  FDS_MAX = 253,
  CLIENTS_MAX = 4096,
  EVENTS_MAX = 64,
  ROLE_BYTES = 8,
  ROLE_RECEIVES = 2,
};

static int receivers[CLIENTS_MAX];
static int receiver_count;
static char greeted[CLIENTS_MAX];
static char packet[PACKET_BYTES_MAX];
static char control[CMSG_SPACE(FDS_MAX * sizeof(int))];
static size_t control_bytes;
static int epoll_fd;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void leave(int fd) {
  for (int i = 0; i < receiver_count; i++)
    if (receivers[i] == fd) {
      memmove(&receivers[i], &receivers[i + 1], (size_t)(receiver_count - i - 1) * sizeof(int));
      receiver_count--;
      break;
    }
  greeted[fd] = 0;
  close(fd);
}

/* Returns bytes, 0 where the peer has gone, -1 where nothing is there. */
static ssize_t receive(int fd) {
  struct iovec part = {packet, sizeof packet};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t bytes = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  control_bytes = message.msg_controllen;
  if (bytes >= 0)
    return bytes;
  control_bytes = 0;
  return errno == EAGAIN || errno == EINTR ? -1 : 0;
}

static void forward(int to, size_t bytes) {
  struct iovec part = {packet, bytes};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (control_bytes > 0) {
    message.msg_control = control;
    message.msg_controllen = control_bytes;
  }
  while (sendmsg(to, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EAGAIN) {
    struct pollfd writable = {to, POLLOUT, 0};
    poll(&writable, 1, -1);
  }
}

static void close_fds(void) {
  struct msghdr message = {.msg_control = control, .msg_controllen = control_bytes};
  for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
      continue;
    size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      close(fd);
    }
  }
}

static void greet(int fd) {
  if (receive(fd) != ROLE_BYTES) {
    leave(fd);
    return;
  }
  greeted[fd] = 1;
  if (packet[0] & ROLE_RECEIVES)
    receivers[receiver_count++] = fd;
  forward(fd, ROLE_BYTES);
}

static void relay(int from) {
  size_t turn_bytes = 0;
  for (int packets = 0; packets < PACKETS_PER_TURN && turn_bytes < BYTES_PER_TURN; packets++) {
    ssize_t bytes = receive(from);
    if (bytes < 0)
      return;
    if (bytes == 0) {
      leave(from);
      return;
    }
    turn_bytes += (size_t)bytes;
    for (int i = 0; i < receiver_count; i++)
      if (receivers[i] != from)
        forward(receivers[i], (size_t)bytes);
    if (control_bytes > 0)
      close_fds();
  }
}

/* What came in one stretch, and goes on as it came. */
static char packets[PACKETS_PER_TURN][PACKET_BYTES_MAX];
static char controls[PACKETS_PER_TURN][CMSG_SPACE(FDS_MAX * sizeof(int))];
static struct iovec parts[PACKETS_PER_TURN];
static struct mmsghdr messages[PACKETS_PER_TURN];

/* Returns packets, 0 where the peer has gone and nothing was left, -1 where nothing is there. */
static int receive_stretch(int fd, int count_max) {
  for (int i = 0; i < count_max; i++) {
    parts[i] = (struct iovec){packets[i], PACKET_BYTES_MAX};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i],
                                          .msg_iovlen = 1,
                                          .msg_control = controls[i],
                                          .msg_controllen = sizeof controls[i]};
  }
  int count = recvmmsg(fd, messages, (unsigned)count_max, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL);
  if (count < 0)
    return errno == EAGAIN || errno == EINTR ? -1 : 0;
  /* A record has at least one byte: none says that the peer has gone, and goes on saying so. */
  for (int i = 0; i < count; i++) {
    if (messages[i].msg_len == 0)
      return i;
    parts[i].iov_len = messages[i].msg_len;
    if (messages[i].msg_hdr.msg_controllen == 0)
      messages[i].msg_hdr.msg_control = NULL;
  }
  return count;
}

static void forward_stretch(int to, int count) {
  for (int sent = 0; sent < count;) {
    int more =
        sendmmsg(to, messages + sent, (unsigned)(count - sent), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (more > 0) {
      sent += more;
      continue;
    }
    /* A receiver that has gone is noticed when it is its turn. */
    if (errno != EAGAIN)
      return;
    struct pollfd writable = {to, POLLOUT, 0};
    poll(&writable, 1, -1);
  }
}

static void close_from_to(unsigned first, unsigned last) {
#ifdef SYS_close_range
  /* By its number: older C libraries do not know it by name. */
  if (syscall(SYS_close_range, first, last, 0) == 0)
    return;
#endif
  for (unsigned fd = first; fd <= last; fd++)
    close((int)fd);
}

/* fds of one stretch mostly follow each other, since the kernel takes the lowest that is free. */
static void close_stretch(int count) {
  unsigned first = 1, last = 0;
  for (int i = 0; i < count; i++) {
    struct msghdr *header = &messages[i].msg_hdr;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
      if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
        continue;
      size_t fds = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t at = 0; at < fds; at++) {
        unsigned fd;
        memcpy(&fd, CMSG_DATA(part) + at * sizeof fd, sizeof fd);
        if (first <= last && fd == last + 1) {
          last = fd;
          continue;
        }
        if (first <= last)
          close_from_to(first, last);
        first = last = fd;
      }
    }
  }
  if (first <= last)
    close_from_to(first, last);
}

/* One stretch a turn. How many packets it may hold follows the size of those before it. */
static void relay_stretch(int from) {
  static int count_max = PACKETS_PER_TURN;
  int count = receive_stretch(from, count_max);
  if (count < 0)
    return;
  if (count == 0) {
    leave(from);
    return;
  }
  for (int i = 0; i < receiver_count; i++)
    if (receivers[i] != from)
      forward_stretch(receivers[i], count);
  close_stretch(count);
  int fitting = BYTES_PER_TURN / (int)messages[0].msg_len;
  count_max = fitting < PACKETS_PER_TURN ? fitting : PACKETS_PER_TURN;
}

static void add(int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
    die("epoll_ctl");
}

static void accept_client(int listen_fd) {
  int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0)
    return;
  if (fd >= CLIENTS_MAX) {
    close(fd);
    return;
  }
  int bytes = SEND_BUFFER_BYTES;
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  add(fd);
}

int main(int argc, char **argv) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int in_stretches = argc == 3 && strcmp(argv[2], "stretches") == 0;
  if (argc != 2 + in_stretches || strlen(argv[1]) >= sizeof address.sun_path) {
    fprintf(stderr, "Usage: relay PATH [stretches]\n");
    return 2;
  }
  strcpy(address.sun_path, argv[1]);
  int listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listen_fd < 0 || bind(listen_fd, (struct sockaddr *)&address, sizeof address) < 0 ||
      listen(listen_fd, SOMAXCONN) < 0)
    die("listen");
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0)
    die("epoll_create1");
  add(listen_fd);
  puts("ready");
  fflush(stdout);
  for (;;) {
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (fd == listen_fd)
        accept_client(listen_fd);
      else if (greeted[fd] && in_stretches)
        relay_stretch(fd);
      else if (greeted[fd])
        relay(fd);
      else
        greet(fd);
    }
  }
}
