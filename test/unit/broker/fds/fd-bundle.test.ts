import { describe, expect, test } from "bun:test";
import { FdBundle } from "../../../../src/broker/fds/fd-bundle.ts";

function bundleOf(...fds: number[]): { bundle: FdBundle; closed: number[] } {
  const closed: number[] = [];
  return { bundle: new FdBundle(fds, (fd) => void closed.push(fd)), closed };
}

describe("FdBundle", () => {
  test("closes its fds when its only holder lets go", () => {
    const { bundle, closed } = bundleOf(7, 8);
    expect(bundle.count).toBe(2);
    bundle.release();
    expect(closed).toEqual([7, 8]);
  });

  test("closes them with the last of several holders, once", () => {
    const { bundle, closed } = bundleOf(7);
    bundle.retain();
    bundle.retain();
    bundle.release();
    bundle.release();
    expect(closed).toEqual([]);
    bundle.release();
    expect(closed).toEqual([7]);
  });

  test("does not come back to life, and is not let go twice", () => {
    const { bundle, closed } = bundleOf(7);
    bundle.release();
    expect(() => bundle.release()).toThrow("released once by each holder");
    expect(() => bundle.retain()).toThrow("has closed its fds");
    expect(closed).toEqual([7]);
  });
});
