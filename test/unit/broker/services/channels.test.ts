/** Opening a channel where the kernel fails in the middle. The sockets of the channel are real. */

import { describe, expect, test } from "bun:test";
import { FdBudget } from "../../../../src/broker/fds/fd-budget.ts";
import { FDS_UNTAKEN_BEFORE_LOOK } from "../../../../src/broker/fds/limits.ts";
import { Deferred } from "../../../../src/broker/long-work/deferred.ts";
import { Answers } from "../../../../src/broker/services/answers.ts";
import { Channels } from "../../../../src/broker/services/channels.ts";
import { MemberChoice } from "../../../../src/broker/services/member-choice.ts";
import { SyscallError } from "../../../../src/errors.ts";
import { closeFd } from "../../../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../../../src/ffi/pinned-buffer.ts";
import { CHANNEL_FDS } from "../../../../src/protocol/limits.ts";
import { OPCODE } from "../../../../src/protocol/opcodes.ts";
import { leakingNoFds } from "../../ffi/fd-table.ts";
import { quietRouterHost } from "../connection-fixture.ts";
import { ServicesBench } from "./services-fixture.ts";

const UID = 7;
const OPEN_FILES = 1_024;
/** The server's; nothing is opened. */
const LANE = 400_000_000;

/** A message with a file. */
const FRAME = new PinnedBuffer(16);
FRAME.words[0] = FRAME.byteLength;
FRAME.words[1] = OPCODE.MESSAGE;

/** A server, an asker, and a kernel whose sends with fds fail from some time on. */
class ChannelBench {
  readonly services = new ServicesBench(UID);
  readonly budget = new FdBudget(OPEN_FILES);
  readonly server = this.services.connections.connect(1, UID);
  readonly asker = this.services.connections.connect(2, UID);
  readonly channels: Channels;
  /** Opcodes of answers to the asker. */
  readonly answers: number[] = [];

  /** Told of what waits for the end of the turn. */
  noteUnflushed = () => {};

  /** @param failure thrown by the kernel after so many sends with fds that succeed */
  constructor(failure: Error, sendsBefore: number) {
    const { state, table, introductions, connections } = this.services;
    this.services.request(this.server, OPCODE.SERVE, { service: "s", channels: true });
    let sends = 0;
    connections.kernel.sendPacketWithFds = (_fd, _buffer, _offset, bytes) => {
      sends += 1;
      if (sends > sendsBefore) throw failure;
      return bytes;
    };
    const onEvent = () => {};
    this.channels = new Channels({
      state,
      table,
      introductions,
      budget: this.budget,
      choice: new MemberChoice(state, onEvent, onEvent),
      answers: new Answers((_to, { opcode }) => void this.answers.push(opcode), onEvent),
      inFlight: connections.fdsInFlight,
      files: { closeFd },
      deferred: new Deferred(),
      onEvent,
      host: { ...quietRouterHost(), noteUnflushed: () => this.noteUnflushed() },
    });
  }

  /** Sends the server fds that the asker pays for, and that nobody has looked for since. */
  sendFds(count: number): void {
    const { kernel } = this.services.connections;
    const { fdAccount } = this.asker;
    fdAccount.charge(count);
    this.server.queue.deliverWithFds(
      FRAME,
      0,
      FRAME.byteLength,
      kernel.bundle(count, 0, fdAccount),
    );
  }

  open(): void {
    this.services.requestOf(this.channels, this.asker, OPCODE.OPEN_CHANNEL, { service: "s" });
  }
}

function failure(): SyscallError {
  const fields = { code: "EIO", errno: 5, syscall: "sendmsg" };
  return new SyscallError("sendmsg failed", fields);
}

describe("a channel that the kernel fails to pass on", () => {
  test.each([
    ["the server", 0],
    ["the asker", 1],
  ])("to %s is refused, with no end kept open", (_side, sendsBefore) => {
    leakingNoFds(() => {
      const bench = new ChannelBench(failure(), sendsBefore);
      bench.open();
      expect(bench.answers).toEqual([OPCODE.ERROR]);
      expect(bench.budget.held).toBe(0);
      // What the server was sent is charged until it has taken it.
      expect(bench.asker.fdAccount.waiting).toBe(2 * sendsBefore);
      expect(bench.services.connections.fdsInFlight.follow).toBe(false);
    })();
  });

  test("costs its asker nothing, also where older fds are found to be taken meanwhile", () => {
    const bench = new ChannelBench(failure(), 1);
    bench.sendFds(FDS_UNTAKEN_BEFORE_LOOK);
    bench.open();
    expect(bench.answers).toEqual([OPCODE.ERROR]);
    expect(bench.asker.fdAccount.charged).toBe(0);
  });

  test("is paid for once where it left, though as many older fds are found to be taken", () => {
    const bench = new ChannelBench(failure(), Number.POSITIVE_INFINITY);
    const { kernel } = bench.services.connections;
    const { outlet } = bench.server.queue;
    outlet.useLane(LANE);
    for (const count of [CHANNEL_FDS, FDS_UNTAKEN_BEFORE_LOOK]) bench.sendFds(count);
    bench.server.queue.flush();
    kernel.countUnreadRecords = () => 1;
    bench.noteUnflushed = () => {
      throw new Error("a bug");
    };
    expect(() => bench.open()).toThrow("a bug");
    expect(bench.asker.fdAccount.charged).toBe(FDS_UNTAKEN_BEFORE_LOOK + CHANNEL_FDS);
    kernel.countUnreadRecords = () => 0;
    outlet.look();
    expect(bench.asker.fdAccount.charged).toBe(0);
  });

  test("keeps no end open either where a bug is found", () => {
    leakingNoFds(() => {
      const bench = new ChannelBench(new Error("a bug"), 1);
      expect(() => bench.open()).toThrow("a bug");
      expect(bench.budget.held).toBe(0);
    })();
  });
});
