import { expect, test } from "bun:test";
import { UserTurns } from "../../../src/broker/reading/user-turns.ts";
import { SocketWatch } from "../../../src/broker/socket-watch.ts";
import { SyscallError } from "../../../src/errors.ts";
import type { Epoll } from "../../../src/ffi/epoll.ts";
import { ConnectionBench } from "./connection-fixture.ts";

/** Knows what was added, as the kernel does, and may have no room for more. */
class SimulatedEpoll {
  readonly added = new Set<number>();
  isFull = false;

  add(fd: number): void {
    if (this.isFull) throw failure("ENOSPC", 28);
    this.added.add(fd);
  }

  modify(fd: number): void {
    if (!this.added.has(fd)) throw failure("ENOENT", 2);
  }

  remove(fd: number): void {
    if (!this.added.delete(fd)) throw failure("ENOENT", 2);
  }
}

function failure(code: string, errno: number): SyscallError {
  return new SyscallError(`epoll_ctl: ${code}`, { code, errno, syscall: "epoll_ctl" });
}

test("SocketWatch forgets a connection that it could not watch again", () => {
  const epoll = new SimulatedEpoll();
  const watch = new SocketWatch(epoll as unknown as Epoll, new UserTurns());
  const connection = new ConnectionBench().connect(1);
  watch.add(connection);
  watch.setHeld(connection, true);
  watch.unwatch(connection);
  epoll.isFull = true;
  expect(() => watch.setHeld(connection, false)).toThrow("ENOSPC");
  watch.unwatch(connection);
  watch.remove(connection);
  expect(epoll.added.has(connection.socket.number)).toBe(false);
  watch.close();
});
