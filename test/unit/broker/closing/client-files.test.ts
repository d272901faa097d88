/** How much of clients' files is kept for whom. No real files. */

import { expect, test } from "bun:test";
import { ClientFiles } from "../../../../src/broker/closing/client-files.ts";
import type { FdCloser } from "../../../../src/broker/closing/fd-closer.ts";
import { FdBudget } from "../../../../src/broker/fds/fd-budget.ts";
import { FdsInFlight } from "../../../../src/broker/fds/fds-in-flight.ts";
import { Deferred } from "../../../../src/broker/long-work/deferred.ts";
import { Quotas, RESOURCE } from "../../../../src/broker/quotas/quota.ts";
import { QUOTA_DEFAULTS } from "../../../../src/broker/quotas/quota-limits.ts";
import type { ReceivedPacket } from "../../../../src/broker/reading/packet-handler.ts";
import { PinnedBuffer } from "../../../../src/ffi/pinned-buffer.ts";

function packetWith(fds: number[]): ReceivedPacket {
  return {
    buffer: new PinnedBuffer(16),
    receivedFdCount: fds.length,
    controlTruncated: false,
    takeFds: () => fds,
    closeFds: () => 0,
  };
}

function openFiles() {
  const closed: number[] = [];
  const closer = { pending: 0, close: (fd: number) => closed.push(fd) } as unknown as FdCloser;
  const quotas = new Quotas(() => ({ ...QUOTA_DEFAULTS, fds: 10 }));
  const budget = new FdBudget(1024);
  return { files: new ClientFiles(closer, quotas, budget), quotas, budget, closed };
}

test("roomToKeep() is what the user's limit leaves beside fds that are kept and charged", () => {
  const { files, quotas } = openFiles();
  expect(files.roomToKeep(7)).toBe(10);
  files.keep([100, 101, 102], 7);
  files.keep([103], 7);
  expect(files.roomToKeep(7)).toBe(6);
  quotas.user(7).impose(RESOURCE.fds, 8);
  expect(files.roomToKeep(7)).toBe(-2);
  expect(files.roomToKeep(8)).toBe(10);
});

test("keep() counts fds until they are taken or closed, once", () => {
  const { files, budget, closed } = openFiles();
  const taken = files.keep([100, 101], 7);
  const left = files.keep([102, 103, 104], 7);
  expect(taken.take()).toEqual([100, 101]);
  taken.close();
  expect(files.roomToKeep(7)).toBe(7);
  left.close();
  left.close();
  expect(closed).toEqual([102, 103, 104]);
  expect(files.roomToKeep(7)).toBe(10);
  expect(budget.held).toBe(0);
});

test("keepPaid() charges the sender until the fds are taken or closed, or takes none", () => {
  const { files, quotas, budget, closed } = openFiles();
  const fdsInFlight = new FdsInFlight(() => 0, new Deferred());
  const quota = quotas.open(7);
  const fdAccount = fdsInFlight.account(quota);
  const sender = { identity: { uid: 7, gid: 7, pid: 1, groups: [] }, fdAccount };
  const first = files.keepPaid(packetWith([100, 101]), sender);
  const second = files.keepPaid(packetWith([102, 103, 104]), sender);
  const tooMany = packetWith([105]);
  expect(files.keepPaid(tooMany, sender)).toBeUndefined();
  expect(tooMany.takeFds()).toEqual([105]);
  expect([quota.used(RESOURCE.fds), budget.held, files.roomToKeep(7)]).toEqual([5, 5, 5]);
  expect([fdAccount.charged, fdAccount.waiting, fdsInFlight.isIdle]).toEqual([5, 0, true]);
  expect(first?.take()).toEqual([100, 101]);
  second?.close();
  second?.close();
  expect(closed).toEqual([102, 103, 104]);
  expect([quota.used(RESOURCE.fds), budget.held, fdsInFlight.isIdle]).toEqual([0, 0, true]);
});

test("keepPaid() charges for some alone, where the user may keep all of them", () => {
  const { files, quotas, budget } = openFiles();
  const quota = quotas.open(7);
  const fdAccount = new FdsInFlight(() => 0, new Deferred()).account(quota);
  const sender = { identity: { uid: 7, gid: 7, pid: 1, groups: [] }, fdAccount };
  const six = packetWith([100, 101, 102, 103, 104, 105]);
  expect(files.keepPaid(six, sender)).toBeUndefined();
  const kept = files.keepPaid(six, sender, 1);
  expect([fdAccount.charged, budget.held, files.roomToKeep(7)]).toEqual([1, 6, 4]);
  expect(files.keepPaid(packetWith([1, 2, 3, 4, 5]), sender, 0)).toBeUndefined();
  expect(kept?.take()).toHaveLength(6);
  kept?.close();
  expect([fdAccount.charged, budget.held, files.roomToKeep(7)]).toEqual([0, 0, 10]);
});

test("what was kept has its place until its packet is handled, whatever siblings take", () => {
  const { files, quotas } = openFiles();
  const quota = quotas.open(7);
  const fdAccount = new FdsInFlight(() => 0, new Deferred()).account(quota);
  const sender = { identity: { uid: 7, gid: 7, pid: 1, groups: [] }, fdAccount };
  const keepAndTake = () => files.keepPaid(packetWith([100, 101, 102, 103]), sender)?.take();
  const sibling = quotas.open(7);
  expect([keepAndTake()?.length, sibling.charge(RESOURCE.fds, 4)]).toEqual([4, true]);
  expect([fdAccount.charge(5), fdAccount.charge(4)]).toEqual([false, false]);
  sibling.release(RESOURCE.fds, 4);
  keepAndTake();
  sibling.impose(RESOURCE.fds, 4);
  expect([fdAccount.charge(4), fdAccount.charge(1)]).toEqual([true, false]);
  fdAccount.release(4);
  sibling.release(RESOURCE.fds, 4);
  keepAndTake();
  fdAccount.givePlaceUp();
  sibling.impose(RESOURCE.fds, 4);
  expect(fdAccount.charge(4)).toBe(false);
});

test("keep() charges nothing: nobody has looked at the packet yet", () => {
  const { files, quotas } = openFiles();
  files.keep([100, 101, 102, 103, 104, 105], 7);
  expect(quotas.user(7).used(RESOURCE.fds)).toBe(0);
  expect(quotas.open(7).charge(RESOURCE.fds, 5)).toBe(true);
});
