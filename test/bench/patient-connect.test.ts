/** Connecting where the backlog may be full. */

import { describe, expect, test } from "bun:test";
import { connectPatiently } from "../../bench/patient-connect.ts";
import { SyscallError } from "../../src/errors.ts";

function failure(code: string): SyscallError {
  return new SyscallError("connect failed", { code, errno: 1, syscall: "connect" });
}

/** Fails so often, and then connects. */
function listener(failures: readonly SyscallError[]) {
  const calls: (readonly [number, string])[] = [];
  const connect = (fd: number, path: string): void => {
    calls.push([fd, path]);
    const error = failures[calls.length - 1];
    if (error !== undefined) throw error;
  };
  return { calls, connect };
}

describe("connectPatiently()", () => {
  test("tries again where the backlog is full", () => {
    const { calls, connect } = listener([failure("EAGAIN"), failure("EAGAIN")]);
    connectPatiently(7, "/bus", connect);
    expect(calls).toEqual(Array.from({ length: 3 }, () => [7, "/bus"] as const));
  });

  test("throws any other error at once", () => {
    const { calls, connect } = listener([failure("ECONNREFUSED")]);
    expect(() => connectPatiently(7, "/bus", connect)).toThrow("connect failed");
    expect(calls).toHaveLength(1);
  });
});
