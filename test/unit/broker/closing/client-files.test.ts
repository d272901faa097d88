/** How much of clients' files is kept for whom. No real files. */

import { expect, test } from "bun:test";
import { ClientFiles } from "../../../../src/broker/closing/client-files.ts";
import type { FdCloser } from "../../../../src/broker/closing/fd-closer.ts";
import { FdBudget } from "../../../../src/broker/fds/fd-budget.ts";
import { Quotas, RESOURCE } from "../../../../src/broker/quotas/quota.ts";
import { QUOTA_DEFAULTS } from "../../../../src/broker/quotas/quota-limits.ts";

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

test("keep() charges nothing: a message that waited must fit as if it had not", () => {
  const { files, quotas } = openFiles();
  files.keep([100, 101, 102, 103, 104, 105], 7);
  expect(quotas.user(7).used(RESOURCE.fds)).toBe(0);
  expect(quotas.open(7).charge(RESOURCE.fds, 5)).toBe(true);
});
