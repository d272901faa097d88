import { expect, test } from "bun:test";
import { SyscallError } from "../../../src/errors.ts";
import { EAGAIN, EBADF, ECONNREFUSED } from "../../../src/ffi/constants.ts";
import { libc } from "../../../src/ffi/libc.ts";
import * as result from "../../../src/ffi/syscall-result.ts";

test("lastErrno() gives the errno of the call just made, in a loop that is compiled", () => {
  const socket = libc.socket(1, 5 | 0o4000 | 0o2000000, 0);
  const pipeLike = libc.epoll_create1(0o2000000);
  let wrong = 0;
  let garbage: number[] = [];
  for (let round = 0; round < 100_000; round += 1) {
    if (libc.close(-1) === 0 || result.lastErrno() !== EBADF) wrong += 1;
    // Allocation between the calls gives the collector its chance to run in the middle.
    garbage = [round, garbage.length];
    if (libc.accept4(pipeLike, null, null, 0) >= 0 || result.lastErrno() !== 88) wrong += 1;
    if (libc.listen(socket, 1) === 0 || result.lastErrno() !== 22) wrong += 1;
  }
  libc.close(socket);
  libc.close(pipeLike);
  expect(wrong).toBe(0);
});

test("outcomes are negative and each has its own number and name", () => {
  const outcomes = [
    result.WOULD_BLOCK,
    result.PEER_CLOSED,
    result.RECORD_TRUNCATED,
    result.INTERRUPTED,
    result.FDS_REFUSED,
    result.FD_TABLE_FULL,
    result.NO_MEMORY,
    result.RECORD_TOO_LARGE,
    result.FDS_UNWANTED,
  ];
  expect(outcomes).toEqual([-1, -2, -3, -4, -5, -6, -7, -8, -9]);
  expect(outcomes.map(result.outcomeName)).toEqual([
    "WOULD_BLOCK",
    "PEER_CLOSED",
    "RECORD_TRUNCATED",
    "INTERRUPTED",
    "FDS_REFUSED",
    "FD_TABLE_FULL",
    "NO_MEMORY",
    "RECORD_TOO_LARGE",
    "FDS_UNWANTED",
  ]);
});

test("outcomeName() calls a result of 0 or more OK, and shows an unknown number", () => {
  expect(result.outcomeName(0)).toBe("OK");
  expect(result.outcomeName(64)).toBe("OK");
  expect(result.outcomeName(-99)).toBe("OUTCOME_-99");
});

test("errnoName() gives the kernel's name, or shows an unknown number", () => {
  expect(result.errnoName(ECONNREFUSED)).toBe("ECONNREFUSED");
  expect(result.errnoName(EAGAIN)).toBe("EAGAIN");
  expect(result.errnoName(4095)).toBe("ERRNO_4095");
});

test("syscallError() quotes the path, and keeps it in a field", () => {
  const error = result.syscallError("connect", ECONNREFUSED, undefined, "/run/bus.sock");
  expect(error).toBeInstanceOf(SyscallError);
  expect(error.message).toBe('Cannot connect "/run/bus.sock": ECONNREFUSED, nobody listens');
  expect(error).toMatchObject({
    code: "ECONNREFUSED",
    errno: ECONNREFUSED,
    syscall: "connect",
    path: "/run/bus.sock",
  });
});

test("syscallError() does without path, subject or known errno", () => {
  const named = result.syscallError("listen", EBADF, "fd 7");
  expect(named.message).toBe("Cannot listen fd 7: EBADF, not an open file descriptor");
  expect(named.path).toBeUndefined();
  expect(result.syscallError("epoll_wait", 4095).message).toBe("Cannot epoll_wait: ERRNO_4095");
});
