/*
 * The floor in C: a relay over SOCK_SEQPACKET that forwards whole packets, with their fds, and does
 * nothing else. No protocol, no policy, no queue. Only a yardstick; bench/floor-relay.ts is the same
 * in TypeScript.
 *
 * Usage: relay PATH. Prints one line when it listens. A client first sends a record of 8 bytes whose
 * first bit 2 says that it receives; the record goes back to it.
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
#include <sys/un.h>
#include <unistd.h>

enum {
  PACKET_BYTES_MAX = 65536,
  /* As in floor-relay.ts and the broker, so that all are alike. */
  PACKETS_PER_TURN = 8,
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
  for (int packets = 0; packets < PACKETS_PER_TURN; packets++) {
    ssize_t bytes = receive(from);
    if (bytes < 0)
      return;
    if (bytes == 0) {
      leave(from);
      return;
    }
    for (int i = 0; i < receiver_count; i++)
      if (receivers[i] != from)
        forward(receivers[i], (size_t)bytes);
    if (control_bytes > 0)
      close_fds();
  }
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
  if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path) {
    fprintf(stderr, "Usage: relay PATH\n");
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
      else if (greeted[fd])
        relay(fd);
      else
        greet(fd);
    }
  }
}
