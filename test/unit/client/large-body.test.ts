import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { AssertionError } from "../../../src/assert.ts";
import { encodeBody } from "../../../src/client/body-codec.ts";
import { LargeBody, RELEASED_BODY } from "../../../src/client/large-body.ts";
import { BODY_FDS_HELD_MAX, LARGE_COPY_BYTES_MAX } from "../../../src/client/limits.ts";
import { mappedMemory } from "../../../src/ffi/mapping.ts";
import { addSeals, createMemfd, SEALS_FOR_GOOD, writeMemory } from "../../../src/ffi/memfd.ts";
import { ENCODING } from "../../../src/protocol/opcodes.ts";
import { eventually } from "../../support/eventually.ts";
import { isOpenFd } from "./simulated-transport.ts";

const NAME = "large-body-test";
const MAPPED_BYTES = LARGE_COPY_BYTES_MAX + 1;

function memoryOf(bytes: Uint8Array): number {
  const fd = createMemfd(NAME);
  writeMemory(fd, bytes);
  addSeals(fd, SEALS_FOR_GOOD);
  return fd;
}

/** A body that counts up byte by byte, with the fd that it takes over. */
function countingBody(byteLength: number): { body: LargeBody; fd: number; bytes: Uint8Array } {
  const bytes = Uint8Array.from({ length: byteLength }, (_, index) => index % 251);
  const fd = memoryOf(bytes);
  return { body: new LargeBody(fd, byteLength), fd, bytes };
}

/** Memfds of this test that are open or mapped in this process. */
function memoriesHeld(): { fds: number; mappings: number } {
  const targets = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return "";
    }
  });
  const maps = readFileSync("/proc/self/maps", "utf8");
  return {
    fds: targets.filter((target) => target.includes(`memfd:${NAME}`)).length,
    mappings: maps.split(`memfd:${NAME}`).length - 1,
  };
}

describe("LargeBody.bytes()", () => {
  test.each([0, 1, LARGE_COPY_BYTES_MAX])("copies %d bytes", (byteLength) => {
    const { body, fd, bytes } = countingBody(byteLength);
    const before = mappedMemory();
    expect(Bun.hash(body.bytes())).toBe(Bun.hash(bytes));
    expect(mappedMemory()).toEqual(before);
    expect(isOpenFd(fd)).toBe(false);
    body.release();
  });

  test.each([MAPPED_BYTES, 3_000_000])("maps %d bytes", (byteLength) => {
    const { body, fd, bytes } = countingBody(byteLength);
    const before = mappedMemory().bytes;
    expect(Bun.hash(body.bytes())).toBe(Bun.hash(bytes));
    expect(mappedMemory().bytes).toBe(before + byteLength);
    expect(isOpenFd(fd)).toBe(false);
    body.release();
    expect(mappedMemory().bytes).toBe(before);
  });

  test("gives the same view each time, and one that may be written to", () => {
    const { body } = countingBody(MAPPED_BYTES);
    body.bytes()[3] = 99;
    expect(body.bytes()[3]).toBe(99);
    body.release();
  });
});

describe("LargeBody.release()", () => {
  test("closes the fd of a body that nobody read, and maps nothing", () => {
    const { body, fd } = countingBody(MAPPED_BYTES);
    const before = mappedMemory();
    expect(isOpenFd(fd)).toBe(true);
    body.release();
    expect(isOpenFd(fd)).toBe(false);
    expect(mappedMemory()).toEqual(before);
  });

  test("leaves views empty after the last holder, and not before", () => {
    const { body } = countingBody(MAPPED_BYTES);
    body.retain();
    const view = body.bytes();
    body.release();
    expect(view[250]).toBe(250);
    body.release();
    expect(view).toHaveLength(0);
    expect(() => body.release()).toThrow(AssertionError);
    expect(() => body.bytes()).toThrow(AssertionError);
  });
});

describe("LargeBody.decode()", () => {
  const PADDING = "x".repeat(MAPPED_BYTES);
  const VALUE = { padding: PADDING, list: [1, null, "ü"], bin: new Uint8Array(5_000).fill(7) };

  test.each([
    ["text", PADDING],
    ["json", { padding: PADDING, n: [1, 2.5, null] }],
    ["msgpack", VALUE],
  ] as const)("decodes %s, and leaves nothing mapped", (name, value) => {
    const { encoding, bytes } = encodeBody(value, name);
    const body = new LargeBody(memoryOf(bytes), bytes.byteLength);
    const before = mappedMemory();
    const first = body.decode(encoding);
    expect(first).toEqual(value);
    expect(mappedMemory()).toEqual(before);
    expect(body.decode(encoding)).toEqual(value);
    body.release();
    expect(first).toEqual(value);
  });

  test("decodes what the program holds, and what lies in it outlives that", () => {
    const { bytes } = encodeBody(VALUE, "msgpack");
    const body = new LargeBody(memoryOf(bytes), bytes.byteLength);
    body.bytes();
    const value = body.decode(ENCODING.MSGPACK);
    body.release();
    expect(value).toEqual(VALUE);
  });

  test("gives bytes as bytes() does", () => {
    const { body } = countingBody(MAPPED_BYTES);
    expect(body.decode(ENCODING.BYTES)).toBe(body.bytes());
    body.release();
  });

  test.each([ENCODING.TEXT, ENCODING.JSON, ENCODING.MSGPACK])(
    "throws DATA_DECODE for what is not encoding %d, and leaves nothing mapped",
    (encoding) => {
      const bytes = new Uint8Array(MAPPED_BYTES).fill(0xc1);
      const body = new LargeBody(memoryOf(bytes), bytes.byteLength);
      const before = mappedMemory();
      let thrown: unknown;
      try {
        body.decode(encoding);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toMatchObject({ code: "DATA_DECODE" });
      expect(mappedMemory()).toEqual(before);
      body.release();
    },
  );
});

describe("unread bodies", () => {
  test("beyond BODY_FDS_HELD_MAX are held by a mapping and no fd", () => {
    const count = BODY_FDS_HELD_MAX + 20;
    const made = Array.from({ length: count }, () => countingBody(1_000));
    const { fds, mappings } = memoriesHeld();
    expect(fds).toBeLessThanOrEqual(BODY_FDS_HELD_MAX);
    expect(fds + mappings).toBe(count);
    for (const { body, bytes } of made) {
      expect(Bun.hash(body.bytes())).toBe(Bun.hash(bytes));
      body.release();
    }
    expect(memoriesHeld()).toEqual({ fds: 0, mappings: 0 });
  });

  test("that the program drops are let go by the garbage collector", async () => {
    (() => {
      for (let count = 0; count < 10; count += 1) countingBody(1_000);
      for (let count = 0; count < 10; count += 1) countingBody(MAPPED_BYTES).body.bytes();
    })();
    expect(memoriesHeld().fds).toBeGreaterThan(0);
    await eventually(() => {
      Bun.gc(true);
      const { fds, mappings } = memoriesHeld();
      return fds === 0 && mappings === 0;
    }, "all bodies were collected");
  });
});

describe("RELEASED_BODY", () => {
  test("throws DATA_BODY_RELEASED for who reads it", () => {
    for (const read of [() => RELEASED_BODY.bytes(), () => RELEASED_BODY.decode(ENCODING.TEXT)]) {
      let thrown: unknown;
      try {
        read();
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toMatchObject({ name: "DataError", code: "DATA_BODY_RELEASED" });
    }
  });
});
