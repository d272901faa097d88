import { describe, expect, test } from "bun:test";
import { LentFd } from "../../../src/client/lent-fd.ts";
import { closeFd } from "../../../src/ffi/owned-fd.ts";
import { openHighFd } from "../ffi/fd-table.ts";
import { isOpenFd } from "./simulated-transport.ts";

/** Lends until it is told that the work is done. */
function lent(fd: LentFd): { done: () => void; loan: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { done: resolve, loan: fd.lend(() => promise) };
}

describe("LentFd.close()", () => {
  test("waits until the last loan is over, and says at once that the fd is gone", async () => {
    const number = openHighFd();
    const fd = new LentFd(number);
    const [first, second] = [lent(fd), lent(fd)];
    fd.close();
    expect(fd.isOpen).toBe(false);
    expect(() => fd.number).toThrow("taken or closed");
    first.done();
    await first.loan;
    expect(isOpenFd(number)).toBe(true);
    second.done();
    await second.loan;
    expect(isOpenFd(number)).toBe(false);
    fd.close();
  });

  test("happens after a loan that failed too", async () => {
    const number = openHighFd();
    const fd = new LentFd(number);
    const loan = fd.lend(() => Promise.reject(new Error("no")));
    fd.close();
    expect(await loan.catch(String)).toBe("Error: no");
    expect(isOpenFd(number)).toBe(false);
  });
});

describe("LentFd.release()", () => {
  test("gives the number itself where nobody uses it", () => {
    const number = openHighFd();
    const fd = new LentFd(number);
    expect(fd.release()).toBe(number);
    fd.close();
    expect(isOpenFd(number)).toBe(true);
    closeFd(number);
  });

  test("gives a duplicate while it is lent, so the loan keeps its number", async () => {
    const number = openHighFd();
    const fd = new LentFd(number);
    const { done, loan } = lent(fd);
    const released = fd.release();
    expect(released).not.toBe(number);
    closeFd(released);
    expect(isOpenFd(number)).toBe(true);
    done();
    await loan;
    expect(isOpenFd(number)).toBe(false);
  });
});

test("LentFd.lend() throws DATA_FDS_TAKEN once it is closed", async () => {
  const fd = new LentFd(openHighFd());
  fd.close();
  const loan = fd.lend(async () => "never");
  expect(await loan.catch((error: unknown) => error)).toMatchObject({ code: "DATA_FDS_TAKEN" });
});
