import { expect, test } from "bun:test";
import { AssertionError } from "../../../src/assert.ts";
import { DataError } from "../../../src/errors.ts";
import { PacketReceiver } from "../../../src/ffi/ancillary.ts";
import {
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLRDHUP,
} from "../../../src/ffi/constants.ts";
import { Epoll } from "../../../src/ffi/epoll.ts";
import { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import { sendPacket } from "../../../src/ffi/seqpacket.ts";
import { leakingNoFds } from "./fd-table.ts";
import { runFixture } from "./fixture-process.ts";
import { SocketPair } from "./socket-pair.ts";

const packet = new PinnedBuffer(64);
const receiver = new PacketReceiver(new PinnedBuffer(64));

/** Tokens and events of one wait(0), by ascending token. */
function ready(epoll: Epoll): [number, number][] {
  const found: [number, number][] = [];
  const count = epoll.wait(0);
  for (let index = 0; index < count; index += 1)
    found.push([epoll.token(index), epoll.events(index)]);
  return found.sort(([a], [b]) => a - b);
}

/** Runs the body with an Epoll that is closed afterwards. */
function withEpoll(eventsMax: number, body: (epoll: Epoll) => void): void {
  const epoll = new Epoll(eventsMax);
  body(epoll);
  epoll.close();
}

test(
  "Epoll reports a readable fd under its token, again and again until it is read",
  leakingNoFds(() => {
    using pair = new SocketPair();
    withEpoll(8, (epoll) => {
      epoll.add(pair.far.number, EPOLLIN, 0xffff_ffff);
      expect(ready(epoll)).toEqual([]);
      sendPacket(pair.near.number, packet, 0, 8);
      expect(ready(epoll)).toEqual([[0xffff_ffff, EPOLLIN]]);
      expect(ready(epoll)).toEqual([[0xffff_ffff, EPOLLIN]]);
      receiver.receive(pair.far.number);
      expect(ready(epoll)).toEqual([]);
    });
  }),
);

test("Epoll keeps the tokens of several events of one wait apart", () => {
  const pairs = Array.from({ length: 5 }, () => new SocketPair());
  withEpoll(8, (epoll) => {
    for (const [index, pair] of pairs.entries()) {
      epoll.add(pair.far.number, EPOLLIN, 100 + index);
      sendPacket(pair.near.number, packet, 0, 8);
    }
    const tokens = ready(epoll);
    expect(tokens).toEqual([100, 101, 102, 103, 104].map((token) => [token, EPOLLIN]));
  });
  for (const pair of pairs) pair[Symbol.dispose]();
});

test("Epoll.wait() returns at most eventsMax events, and the others with the next", () => {
  using first = new SocketPair();
  using second = new SocketPair();
  withEpoll(1, (epoll) => {
    epoll.add(first.near.number, EPOLLOUT, 1);
    epoll.add(second.near.number, EPOLLOUT, 2);
    const tokens = [ready(epoll), ready(epoll)].flat().map(([token]) => token);
    expect(tokens.sort()).toEqual([1, 2]);
  });
});

test("Epoll.modify() changes events and token; Epoll.remove() ends them", () => {
  using pair = new SocketPair();
  withEpoll(8, (epoll) => {
    epoll.add(pair.near.number, EPOLLIN, 1);
    expect(ready(epoll)).toEqual([]);
    epoll.modify(pair.near.number, EPOLLIN | EPOLLOUT, 2);
    expect(ready(epoll)).toEqual([[2, EPOLLOUT]]);
    epoll.remove(pair.near.number);
    expect(ready(epoll)).toEqual([]);
  });
});

test("Epoll reports the end of a peer, also when no event was asked for", () => {
  using pair = new SocketPair();
  using silent = new SocketPair();
  withEpoll(8, (epoll) => {
    epoll.add(pair.near.number, EPOLLIN | EPOLLRDHUP, 1);
    epoll.add(silent.near.number, 0, 2);
    pair.far.close();
    silent.far.close();
    expect(ready(epoll)).toEqual([
      [1, EPOLLIN | EPOLLHUP | EPOLLRDHUP],
      [2, EPOLLHUP],
    ]);
  });
});

test("Epoll reports EPOLLERR when the peer closed with data unread", () => {
  using pair = new SocketPair();
  withEpoll(8, (epoll) => {
    epoll.add(pair.near.number, 0, 1);
    sendPacket(pair.near.number, packet, 0, 8);
    pair.far.close();
    expect(ready(epoll)).toEqual([[1, EPOLLERR | EPOLLHUP]]);
  });
});

test("Epoll takes EPOLLET, the highest bit, and then reports once", () => {
  using pair = new SocketPair();
  withEpoll(8, (epoll) => {
    epoll.add(pair.near.number, EPOLLOUT | EPOLLET, 1);
    expect(ready(epoll)).toEqual([[1, EPOLLOUT]]);
    expect(ready(epoll)).toEqual([]);
  });
});

test("Epoll throws SyscallError for an fd added twice, or changed without being added", () => {
  using pair = new SocketPair();
  withEpoll(8, (epoll) => {
    expect(() => epoll.modify(pair.near.number, EPOLLIN, 1)).toThrow("ENOENT");
    expect(() => epoll.remove(pair.near.number)).toThrow("ENOENT");
    epoll.add(pair.near.number, EPOLLIN, 1);
    expect(() => epoll.add(pair.near.number, EPOLLIN, 1)).toThrow("EEXIST");
  });
});

test("Epoll refuses tokens that are no u32, and timeouts that are no milliseconds", () => {
  using pair = new SocketPair();
  withEpoll(8, (epoll) => {
    for (const token of [-1, 1.5, 2 ** 32, Number.NaN]) {
      expect(() => epoll.add(pair.near.number, EPOLLIN, token)).toThrow(AssertionError);
    }
    for (const timeoutMs of [-2, 0.5, 2 ** 31, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => epoll.wait(timeoutMs)).toThrow(AssertionError);
    }
  });
});

test("Epoll.token() and Epoll.events() refuse an index that the last wait() did not fill", () => {
  using pair = new SocketPair();
  withEpoll(8, (epoll) => {
    epoll.add(pair.near.number, EPOLLOUT, 7);
    expect(epoll.wait(0)).toBe(1);
    for (const index of [-1, 1, Number.NaN]) {
      expect(() => epoll.token(index)).toThrow(AssertionError);
      expect(() => epoll.events(index)).toThrow(AssertionError);
    }
  });
});

test(
  "Epoll.close() closes the epoll fd once, and wait() then throws DATA_FDS_TAKEN",
  leakingNoFds(() => {
    const epoll = new Epoll();
    epoll.close();
    epoll.close();
    expect(() => epoll.wait(0)).toThrow(DataError);
    expect(() => epoll.add(0, EPOLLIN, 1)).toThrow(DataError);
  }),
);

test("Epoll refuses to have no room for events", () => {
  expect(() => new Epoll(0)).toThrow(AssertionError);
});

test("Epoll.wait() returns INTERRUPTED when a signal with a handler comes", async () => {
  const { output } = await runFixture("interrupted-wait-fixture.ts");
  expect(output).toEqual({ outcome: "INTERRUPTED" });
});
