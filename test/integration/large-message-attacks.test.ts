/**
 * Senders of large messages who mean harm: what could change under a reader or kill it is refused,
 * with an error that says so, and nothing of it is delivered or left behind.
 */

import { dlopen } from "bun:ffi";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  constants,
  fstatSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "../../src/client/index.ts";
import * as kernel from "../../src/ffi/constants.ts";
import { Mapping } from "../../src/ffi/mapping.ts";
import { addSeals, createMemfd, ftruncate, SEALS_FOR_GOOD } from "../../src/ffi/memfd.ts";
import { OwnedFd } from "../../src/ffi/owned-fd.ts";
import { openSeqpacket } from "../../src/ffi/seqpacket.ts";
import { LARGE_BODY_BYTES_MAX } from "../../src/protocol/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { mapOf, RawClient, textOf } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { connectAs } from "../support/spawned-client.ts";
import { countingBytes, largePacket, memoryOf } from "../support/test-memory.ts";

const BYTES = 70_000;
const OWN_UID = process.getuid?.() ?? 0;

const libc = dlopen("libc.so.6", {
  fallocate: { args: ["i32", "i32", "i64", "i64"], returns: "i32" },
});

let broker: SpawnedBroker;
let fdsAtRest: number;

beforeAll(async () => {
  broker = await spawnBroker();
  using _first = await RawClient.open(broker.path);
  fdsAtRest = broker.countFds() - 1;
});

afterAll(async () => {
  await broker.expectFds(fdsAtRest);
  await broker[Symbol.asyncDispose]();
});

function opened(path: string, flags: number): OwnedFd {
  return OwnedFd.adopt(openSync(path, flags));
}

function sealedHole(): OwnedFd {
  const memory = OwnedFd.adopt(createMemfd("hole"));
  ftruncate(memory.number, BYTES);
  addSeals(memory.number, SEALS_FOR_GOOD);
  return memory;
}

/** Both ends of a pipe in one fd. */
function openPipe(): OwnedFd {
  const directory = mkdtempSync(join(tmpdir(), "seqbus-test-"));
  try {
    const path = join(directory, "pipe");
    Bun.spawnSync(["mkfifo", path]);
    return opened(path, constants.O_RDWR);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** fallocate(2) of nothing over the first page. @returns what the C function returns */
function punchHole(fd: number): number {
  const FALLOC_FL_PUNCH_HOLE_AND_KEEP_SIZE = 3;
  return libc.symbols.fallocate(fd, FALLOC_FL_PUNCH_HOLE_AND_KEEP_SIZE, 0, 4_096);
}

function reopened(flags: number): OwnedFd {
  using memory = memoryOf(countingBytes(BYTES));
  return opened(`/proc/self/fd/${memory.number}`, flags);
}

const without = (seal: number) => () => memoryOf(countingBytes(BYTES), SEALS_FOR_GOOD & ~seal);

const { F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE } = kernel;

const BAD_BODIES: readonly (readonly [name: string, make: () => OwnedFd, words: string])[] = [
  ["memory without seals", () => memoryOf(countingBytes(BYTES), 0), "sealed"],
  ["memory that can be written", without(F_SEAL_WRITE), "sealed"],
  ["memory that can shrink", without(F_SEAL_SHRINK), "sealed"],
  ["memory that can grow", without(F_SEAL_GROW), "sealed"],
  ["memory whose seals may still change", without(F_SEAL_SEAL), "sealed"],
  [
    "memory that old mappings can still write",
    () => memoryOf(countingBytes(BYTES), (SEALS_FOR_GOOD & ~F_SEAL_WRITE) | F_SEAL_FUTURE_WRITE),
    "sealed",
  ],
  ["memory that was never written", sealedHole, "written all through"],
  ["memory that cannot be read", () => reopened(constants.O_WRONLY), "open for reading"],
  ["memory as a path alone", () => reopened(kernel.O_PATH), "memfd"],
  ["a device", () => opened("/dev/zero", constants.O_RDWR), "memfd"],
  ["a directory", () => opened("/proc/self", constants.O_RDONLY), "memfd"],
  ["a file", () => opened(import.meta.path, constants.O_RDONLY), "memfd"],
  ["a pipe", openPipe, "memfd"],
  ["a socket", () => OwnedFd.adopt(openSeqpacket()), "memfd"],
];

describe("a large message is refused whose body is", () => {
  /** Sends it between two good messages, with a file that must be closed, too. */
  async function expectRefusal(
    make: () => OwnedFd,
    claimedBytes: number | bigint,
    wanted: { status: number; words: string },
  ): Promise<void> {
    using subscriber = await RawClient.open(broker.path);
    await subscriber.subscribe("a");
    using sender = await RawClient.open(broker.path);
    const topic = await sender.openTopic("a");
    using body = make();
    using file = memoryOf(Uint8Array.of(1));
    sender.sendMessage(topic, "before");
    sender.send(largePacket(topic, claimedBytes, 2), [body.number, file.number]);
    sender.sendMessage(topic, "after");
    expect(await sender.sync()).toMatchObject({ published: 2, matched: 2, denied: 1 });
    const error = await sender.nextOf(OPCODE.ERROR);
    expect(error).toMatchObject({ flags: 0, id: 0 });
    expect(mapOf(error)).toMatchObject({ status: wanted.status, topic: "a" });
    expect(mapOf(error)["message"]).toContain(wanted.words);
    expect(textOf(await subscriber.nextOf(OPCODE.MESSAGE))).toBe("before");
    expect(textOf(await subscriber.next())).toBe("after");
    await broker.expectFds(fdsAtRest + 2);
  }

  test.each(BAD_BODIES)("%s", async (_name, make, words) => {
    await expectRefusal(make, BYTES, { status: STATUS.REJECTED_LARGE_BODY, words });
  });

  test.each([
    ["larger than the frame says", BYTES - 1],
    ["smaller than the frame says", BYTES + 1],
    ["said to be empty", 0],
  ])("memory %s", async (_name, claimedBytes) => {
    const wanted = { status: STATUS.REJECTED_LARGE_BODY, words: "70000 bytes, the frame says" };
    await expectRefusal(() => memoryOf(countingBytes(BYTES)), claimedBytes, wanted);
  });

  test.each([BigInt(LARGE_BODY_BYTES_MAX) + 1n, 2n ** 32n + 70_000n, 2n ** 64n - 1n])(
    "said to be %d bytes",
    async (claimedBytes) => {
      const wanted = { status: STATUS.LIMIT_MESSAGE_BYTES, words: "limit is 67108864" };
      await expectRefusal(() => memoryOf(countingBytes(BYTES)), claimedBytes, wanted);
    },
  );

  test("too large in truth", async () => {
    const bytes = LARGE_BODY_BYTES_MAX + 1;
    const wanted = { status: STATUS.LIMIT_MESSAGE_BYTES, words: "limit is 67108864" };
    await expectRefusal(() => memoryOf(new Uint8Array(bytes)), bytes, wanted);
  });

  test("refused as an event, too", async () => {
    const [event] = await broker.reportedSoFar("body-refused");
    expect(event).toMatchObject({
      topic: "a",
      code: "REJECTED_LARGE_BODY",
      identity: { uid: OWN_UID, pid: process.pid },
    });
  });
});

describe("a sender that keeps its memory", () => {
  test("can neither change it under a reader nor kill the reader", async () => {
    await using reader = await connectAs(OWN_UID, broker.path);
    await reader.call("subscribe", "a");
    await using bus = await connect({ path: broker.path });
    using sender = await RawClient.open(broker.path);
    const topic = await sender.openTopic("a");
    const bytes = countingBytes(3_000_000);
    using memory = memoryOf(bytes);
    const fd = memory.number;
    sender.send(largePacket(topic, bytes.byteLength), [fd]);
    await sender.sync();
    expect(() => ftruncateSync(fd, 0)).toThrow("EPERM");
    expect(() => ftruncateSync(fd, 2 ** 30)).toThrow("EPERM");
    expect(() => writeSync(fd, Uint8Array.of(1), 0, 1, 0)).toThrow("EPERM");
    expect(punchHole(fd)).toBe(-1);
    // A mapping of the sender's own is a private copy, whatever it writes there.
    const mapping = Mapping.open(fd, bytes.byteLength);
    mapping.bytes.fill(0xff);
    mapping.release();
    const digest = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
    expect(await reader.call("bodies", 1)).toEqual([{ byteLength: bytes.byteLength, digest }]);
    expect(fstatSync(fd).size).toBe(bytes.byteLength);
    expect(await bus.flush()).toMatchObject({ published: 0 });
  });
});
