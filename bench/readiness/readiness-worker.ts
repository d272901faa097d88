/**
 * A worker that sleeps in epoll_wait(2) for another thread: it raises a counter and wakes whoever
 * waits on it. Edge-triggered, since it never reads. It ends with its process.
 */

import { EPOLLET, EPOLLIN } from "../../src/ffi/constants.ts";
import { Epoll } from "../../src/ffi/epoll.ts";

declare const self: Worker;

self.onmessage = (event: MessageEvent<{ fd: number; counter: Int32Array }>) => {
  const { fd, counter } = event.data;
  const epoll = new Epoll(1);
  epoll.add(fd, EPOLLIN | EPOLLET, 0);
  self.postMessage("ready");
  for (;;) {
    if (epoll.wait(-1) <= 0) continue;
    Atomics.add(counter, 0, 1);
    Atomics.notify(counter, 0);
  }
};
