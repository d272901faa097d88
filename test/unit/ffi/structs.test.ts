import { expect, test } from "bun:test";
import { AssertionError } from "../../../src/assert.ts";
import { ConfigError } from "../../../src/errors.ts";
import {
  alignControl,
  controlSpace,
  epollEventLayout,
  MSGHDR_BYTES,
  packMessageHeader,
  packSocketAddress,
  packU64,
  SOCKADDR_UN_BYTES,
  unpackU32,
  unpackU64,
} from "../../../src/ffi/structs.ts";

test("epollEventLayout() packs struct epoll_event on x64 and pads it on arm64", () => {
  expect(epollEventLayout("x64")).toEqual({ bytes: 12, dataOffset: 4 });
  expect(epollEventLayout("arm64")).toEqual({ bytes: 16, dataOffset: 8 });
});

test("epollEventLayout() refuses an architecture that it does not know", () => {
  expect(() => epollEventLayout("riscv64")).toThrow(ConfigError);
});

test("packU64() writes little-endian and unpackU64() reads it back", () => {
  const words = new Uint32Array(4);
  packU64(words, 8, 0x1f_2e3d_4c5b_6a);
  expect(new Uint8Array(words.buffer).toHex()).toBe("0000000000000000" + "6a5b4c3d2e1f0000");
  expect(unpackU64(words, 8)).toBe(0x1f_2e3d_4c5b_6a);
});

test.each([0, 1, 0xffff_ffff, 0x1_0000_0000, Number.MAX_SAFE_INTEGER])(
  "packU64() keeps %d",
  (value) => {
    const words = new Uint32Array(2);
    packU64(words, 0, value);
    expect(unpackU64(words, 0)).toBe(value);
  },
);

test("unpackU32() refuses an offset outside the struct", () => {
  expect(() => unpackU32(new Uint32Array(2), 8)).toThrow(AssertionError);
});

test("packMessageHeader() fills all 56 bytes of struct msghdr", () => {
  const words = new Uint32Array(MSGHDR_BYTES / 4).fill(0xffff_ffff);
  packMessageHeader(words, 0, {
    iovecAddress: 0x7f00_1122_3344,
    controlAddress: 0x7f00_5566_7788,
    controlBytes: 1064,
  });
  expect(new Uint8Array(words.buffer).toHex()).toBe(
    "0000000000000000" + // msg_name
      "0000000000000000" + // msg_namelen, padding
      "44332211007f0000" + // msg_iov
      "0100000000000000" + // msg_iovlen
      "88776655007f0000" + // msg_control
      "2804000000000000" + // msg_controllen
      "0000000000000000", // msg_flags, padding
  );
});

test("packSocketAddress() writes family, path and NUL, and clears what was there", () => {
  const target = new Uint8Array(SOCKADDR_UN_BYTES).fill(0xff);
  const bytes = packSocketAddress(target, 1, new TextEncoder().encode("/a"));
  expect(bytes).toBe(5);
  expect(target.subarray(0, 6).toHex()).toBe("0100" + "2f61" + "0000");
  expect(target.subarray(6).every((byte) => byte === 0)).toBe(true);
});

test("packSocketAddress() takes 107 bytes and refuses 0 and 108", () => {
  const target = new Uint8Array(SOCKADDR_UN_BYTES);
  expect(packSocketAddress(target, 1, new Uint8Array(107).fill(0x61))).toBe(SOCKADDR_UN_BYTES);
  expect(() => packSocketAddress(target, 1, new Uint8Array(108).fill(0x61))).toThrow(
    AssertionError,
  );
  expect(() => packSocketAddress(target, 1, new Uint8Array(0))).toThrow(AssertionError);
});

test("alignControl() and controlSpace() round as CMSG_ALIGN and CMSG_SPACE do", () => {
  expect([0, 1, 7, 8, 9].map(alignControl)).toEqual([0, 8, 8, 8, 16]);
  expect([0, 4, 8, 12, 1012].map(controlSpace)).toEqual([16, 24, 24, 32, 1032]);
});
