/** Channels between two ends of real sockets: one is the library's, the other a friend or a foe. */

import { beforeEach, describe, expect, test } from "bun:test";
import { Channel } from "../../../src/client/channel.ts";
import { CHANNEL_MESSAGES_HIGH } from "../../../src/client/limits.ts";
import { Memory } from "../../../src/client/memory.ts";
import type { Message, Sender } from "../../../src/client/message.ts";
import { sendPacketWithFds } from "../../../src/ffi/ancillary.ts";
import { OwnedFd } from "../../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import { openSeqpacketPair, sendPacket } from "../../../src/ffi/seqpacket.ts";
import { WOULD_BLOCK } from "../../../src/ffi/syscall-result.ts";
import { LARGE_BODY_BYTES_MAX } from "../../../src/protocol/limits.ts";
import { FLAG_FDS_ON_LANE, FLAG_LARGE, OPCODE } from "../../../src/protocol/opcodes.ts";
import { PacketWriter } from "../../../src/protocol/packet.ts";
import { eventually } from "../../support/eventually.ts";
import { OwnFds } from "../../support/open-files.ts";
import { readText, TestFiles } from "../../support/test-files.ts";

const PEER: Sender = {
  connection: 9,
  uid: 7,
  gid: 8,
  pid: 9,
  groups: [],
  unit: undefined,
  exe: undefined,
};

let ownFds: OwnFds;

beforeEach(() => {
  ownFds = new OwnFds(/^(\/memfd|socket):/);
});

/** The sockets of both sides. */
function openEnds() {
  const [packets, lane] = [openSeqpacketPair(), openSeqpacketPair()];
  return [0, 1].map((side) => ({
    packets: OwnedFd.adopt(packets[side] as number),
    lane: OwnedFd.adopt(lane[side] as number),
  })) as [Ends, Ends];
}

interface Ends {
  readonly packets: OwnedFd;
  readonly lane: OwnedFd;
}

async function openPair(): Promise<[Channel, Channel]> {
  const [left, right] = openEnds();
  return await Promise.all([Channel.open("a.b", PEER, left), Channel.open("a.b", PEER, right)]);
}

/** A peer that sends what it likes. */
class Foe implements Disposable {
  readonly ends: Ends;
  readonly #buffer = new PinnedBuffer(1 << 17);

  constructor(ends: Ends) {
    this.ends = ends;
  }

  frame(fields: Partial<Frame>): number {
    return this.frames([fields]);
  }

  frames(frames: Partial<Frame>[]): number {
    const writer = new PacketWriter();
    for (const one of frames) {
      const { opcode = OPCODE.MESSAGE, flags = 0, fdCount = 0, id = 0, origin = 0 } = one;
      writer.append(opcode, flags, fdCount, id, origin, one.body ?? new Uint8Array(0));
    }
    return this.bytes(writer.bytes.subarray(0, writer.packetBytes));
  }

  bytes(bytes: Uint8Array): number {
    this.#buffer.bytes.set(bytes);
    return sendPacket(this.ends.packets.number, this.#buffer, 0, bytes.byteLength);
  }

  record(sequence: number, count: number, fds: readonly number[], bytes = 8): void {
    this.#buffer.words[0] = sequence;
    this.#buffer.words[1] = count;
    const lane = this.ends.lane.number;
    if (fds.length > 0) sendPacketWithFds(lane, this.#buffer, 0, bytes, fds);
    else sendPacket(lane, this.#buffer, 0, bytes);
  }

  [Symbol.dispose](): void {
    this.ends.packets.close();
    this.ends.lane.close();
  }
}

interface Frame {
  readonly opcode: number;
  readonly flags: number;
  readonly fdCount: number;
  readonly id: number;
  readonly origin: number;
  readonly body: Uint8Array;
}

async function openAgainstFoe(): Promise<[Channel, Foe]> {
  const [ours, theirs] = openEnds();
  return [await Channel.open("a.b", PEER, ours), new Foe(theirs)];
}

/** Another pair says something and answers: whatever was there to be read before has been read. */
async function othersAreServed(): Promise<void> {
  const [left, right] = await openPair();
  left.send("question");
  right.send((await next(right)).data);
  await next(left);
  await Promise.all([left.close(), right.close()]);
}

async function next(channel: Channel): Promise<Message> {
  const { value, done } = await channel.next();
  if (done === true) throw new Error("The channel has ended");
  return value;
}

function sizeBody(bytes: number): Uint8Array {
  const body = new Uint8Array(8);
  new DataView(body.buffer).setBigUint64(0, BigInt(bytes), true);
  return body;
}

const LARGE_ON_LANE = FLAG_LARGE | FLAG_FDS_ON_LANE;

describe("Channel", () => {
  test("carries messages both ways, in order", async () => {
    const [left, right] = await openPair();
    for (const word of ["one", "two"]) left.send(word);
    left.send({ three: 3 });
    right.send(Uint8Array.of(1, 2));
    const data = [await next(right), await next(right), await next(right)].map((one) => one.data);
    expect(data).toEqual(["one", "two", { three: 3 }]);
    const answer = await next(left);
    expect(answer.bytes).toEqual(Uint8Array.of(1, 2));
    expect(answer).toMatchObject({ topic: "a.b", sender: PEER });
    await Promise.all([left.close(), right.close()]);
  });

  test("carries files and large bodies, each with its message", async () => {
    const before = ownFds.count;
    const [left, right] = await openPair();
    {
      using files = new TestFiles(["x", "y"]);
      const large = new Uint8Array(300_000).fill(7);
      left.send("first");
      left.send("x", { fds: files.fds.slice(0, 1) });
      left.send(large, { fds: files.fds.slice(1) });
      left.send("last");
    }
    expect((await next(right)).data).toBe("first");
    using x = (await next(right)).fds.take(0);
    expect(readText(x.fd)).toBe("x");
    using third = await next(right);
    expect([third.byteLength, third.bytes[299_999], third.fds.length]).toEqual([300_000, 7, 1]);
    expect((await next(right)).data).toBe("last");
    x.close();
    await Promise.all([left.close(), right.close()]);
    third[Symbol.dispose]();
    await eventually(() => ownFds.count === before, "all fds are closed");
  });

  test("holds back its sender while the program does not read, and loses nothing", async () => {
    const [left, right] = await openPair();
    const count = 20_000;
    const body = new Uint8Array(1_000);
    let wasFull = false;
    for (let index = 0; index < count; index += 1) {
      new DataView(body.buffer).setUint32(0, index);
      wasFull = !left.send(body) || wasFull;
    }
    expect(wasFull).toBe(true);
    let isDrained = false;
    const drained = left.drained().then(() => {
      isDrained = true;
    });
    await othersAreServed();
    expect(isDrained).toBe(false);
    for (let index = 0; index < count; index += 1) {
      const { bytes } = await next(right);
      expect(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)).toBe(index);
    }
    await drained;
    await Promise.all([left.close(), right.close()]);
  });

  test("holds back files as well, and keeps them with their messages", async () => {
    const before = ownFds.count;
    const [left, right] = await openPair();
    const count = 700;
    for (let index = 0; index < count; index += 1) {
      using memory = Memory.from(Uint8Array.of(index & 0xff)).seal();
      left.send(index, { fds: [memory] });
    }
    for (let index = 0; index < count; index += 1) {
      const message = await next(right);
      expect(message.data).toBe(index);
      expect(await message.fds.at(0)?.bytes()).toEqual(Uint8Array.of(index & 0xff));
    }
    await Promise.all([left.close(), right.close()]);
    await eventually(() => ownFds.count === before, "all fds are closed");
  });

  test("closed() resolves at both sides, and what came before can be read", async () => {
    const [left, right] = await openPair();
    left.send("bye");
    await left.close();
    expect(await right.closed()).toBeUndefined();
    expect(await left.closed()).toBeUndefined();
    expect((await next(right)).data).toBe("bye");
    expect(await right.next()).toEqual({ done: true, value: undefined });
    expect(() => right.send("x")).toThrow("closed the channel");
    expect(() => left.send("x")).toThrow("is closed");
  });

  test("is closed by leaving a loop over it", async () => {
    const [left, right] = await openPair();
    left.send("x");
    for await (const message of right) {
      expect(message.data).toBe("x");
      break;
    }
    expect(await left.closed()).toBeUndefined();
  });

  test("closes files that nobody took", async () => {
    const before = ownFds.count;
    const [left, right] = await openPair();
    using files = new TestFiles(["x"]);
    for (let index = 0; index < 3; index += 1) left.send("x", { fds: files.fds });
    await next(right);
    await next(right);
    await Promise.all([left.close(), right.close()]);
    await eventually(() => ownFds.count === before + files.fds.length, "fds are closed");
  });
});

describe("a hostile peer", () => {
  test.each([
    ["another opcode", { opcode: OPCODE.NOOP }, "PROTOCOL_OPCODE"],
    ["a frame of a broker", { opcode: OPCODE.ERROR }, "PROTOCOL_OPCODE"],
    ["an unknown flag", { flags: 0x08 }, "PROTOCOL_FLAGS"],
    ["withheld fds", { flags: 0x80 }, "PROTOCOL_FLAGS"],
    ["an id", { id: 1 }, "PROTOCOL_TOPIC_ID"],
    ["an origin", { origin: 1 }, "PROTOCOL_STATE"],
    ["fds beside the lane", { fdCount: 1 }, "PROTOCOL_FD_COUNT"],
    ["the lane without fds", { flags: FLAG_FDS_ON_LANE }, "PROTOCOL_FD_COUNT"],
    ["254 fds", { flags: FLAG_FDS_ON_LANE, fdCount: 254 }, "PROTOCOL_FD_COUNT"],
    ["a large body without an fd", { flags: FLAG_LARGE, body: sizeBody(1) }, "PROTOCOL_FD_COUNT"],
    ["a large body of no length", { flags: LARGE_ON_LANE, fdCount: 1 }, "PROTOCOL_FRAME_LENGTH"],
    ["fds that are not there", { flags: FLAG_FDS_ON_LANE, fdCount: 1 }, "PROTOCOL_LANE"],
  ] as const)(
    "that sends %s is cut off, and the packet has no effect",
    async (_what, bad, code) => {
      const [channel, foe] = await openAgainstFoe();
      using _ = foe;
      foe.frames([{ body: Uint8Array.of(1) }, bad]);
      expect(await channel.closed()).toMatchObject({ code });
      const isChecked = code !== "PROTOCOL_LANE";
      if (!isChecked) expect((await next(channel)).bytes).toEqual(Uint8Array.of(1));
      await expect(channel.next()).rejects.toMatchObject({ code });
      expect(() => channel.send("x")).toThrow();
    },
  );

  test.each([
    ["half a header", new Uint8Array(8)],
    ["an odd length", new Uint8Array(17)],
    ["more than a packet", new Uint8Array(65_544)],
  ])("that sends %s is cut off", async (_what, bytes) => {
    const [channel, foe] = await openAgainstFoe();
    using _ = foe;
    foe.bytes(bytes);
    expect(await channel.closed()).toMatchObject({ code: "PROTOCOL_PACKET_SIZE" });
  });

  test.each([0, 15, 25, 0xffff_ffff])(
    "that sends a frame of %d bytes is cut off",
    async (bytes) => {
      const [channel, foe] = await openAgainstFoe();
      using _ = foe;
      const packet = new Uint8Array(24);
      new DataView(packet.buffer).setUint32(0, bytes, true);
      packet[4] = OPCODE.MESSAGE;
      foe.bytes(packet);
      expect(await channel.closed()).toMatchObject({ code: "PROTOCOL_FRAME_LENGTH" });
    },
  );

  test.each([
    ["a wrong sequence", (foe: Foe, fds: number[]) => foe.record(2, 1, fds)],
    ["another count", (foe: Foe, fds: number[]) => foe.record(1, 2, fds)],
    ["fewer fds than it says", (foe: Foe) => foe.record(1, 1, [])],
    ["more fds than it says", (foe: Foe, fds: number[]) => foe.record(1, 1, [...fds, ...fds])],
    ["a record that is too long", (foe: Foe, fds: number[]) => foe.record(1, 1, fds, 16)],
    ["a record that is too short", (foe: Foe, fds: number[]) => foe.record(1, 1, fds, 4)],
  ])("whose lane has %s is cut off, and its fds closed", async (_what, record) => {
    const [channel, foe] = await openAgainstFoe();
    using _ = foe;
    using files = new TestFiles(["x"]);
    const before = ownFds.count;
    record(foe, [...files.fds]);
    foe.frame({ flags: FLAG_FDS_ON_LANE, fdCount: 1 });
    expect(await channel.closed()).toMatchObject({ code: "PROTOCOL_LANE" });
    // Both sockets and the duplicate for writing are closed, and nothing else was opened.
    await eventually(() => ownFds.count === before - 3, "all fds are closed");
  });

  test("cannot pass a large body that is not sealed, or not of its size, or no memory", async () => {
    using unsealed = Memory.from(new Uint8Array(100));
    using sealed = Memory.from(new Uint8Array(100)).seal();
    using files = new TestFiles(["x".repeat(100)]);
    for (const [fd, bytes, code] of [
      [unsealed.fd, 100, "REJECTED_LARGE_BODY"],
      [sealed.fd, 99, "REJECTED_LARGE_BODY"],
      [sealed.fd, 101, "REJECTED_LARGE_BODY"],
      [files.fds[0] ?? -1, 100, "REJECTED_LARGE_BODY"],
      [sealed.fd, LARGE_BODY_BYTES_MAX + 1, "LIMIT_MESSAGE_BYTES"],
      [sealed.fd, 2 ** 60, "LIMIT_MESSAGE_BYTES"],
    ] as const) {
      const [channel, foe] = await openAgainstFoe();
      using _ = foe;
      const before = ownFds.count;
      foe.record(1, 1, [fd]);
      foe.frame({ flags: LARGE_ON_LANE, fdCount: 1, body: sizeBody(bytes) });
      expect(await channel.closed()).toMatchObject({ code });
      await eventually(() => ownFds.count === before - 3, "all fds are closed");
    }
  });

  test("cannot fill memory: what is not read stays in the kernel", async () => {
    const [channel, foe] = await openAgainstFoe();
    using _ = foe;
    let sent = 0;
    const body = new Uint8Array(60_000);
    await eventually(async () => {
      let fresh = 0;
      while (foe.frame({ body }) !== WOULD_BLOCK) fresh += 1;
      sent += fresh;
      await othersAreServed();
      return fresh === 0;
    }, "the channel reads no more");
    // 1 MiB in the queue, and what the socket holds.
    expect(sent).toBeLessThan(40);
    for (let index = 0; index < sent; index += 1) await next(channel);
    await channel.close();
  });

  test("cannot fill memory with messages without a body", async () => {
    const [channel, foe] = await openAgainstFoe();
    using _ = foe;
    const empty = Array.from({ length: 4_096 }, () => ({}));
    let packets = 0;
    await eventually(async () => {
      let fresh = 0;
      while (foe.frames(empty) !== WOULD_BLOCK) fresh += 1;
      packets += fresh;
      await othersAreServed();
      return fresh === 0;
    }, "the channel reads no more");
    expect(packets).toBeLessThan(8);
    for (let index = 0; index < CHANNEL_MESSAGES_HIGH; index += 1) await next(channel);
    await channel.close();
  });

  test("cannot keep fds here by records that no frame belongs to", async () => {
    const [channel, foe] = await openAgainstFoe();
    using _ = foe;
    using files = new TestFiles(["x"]);
    const before = ownFds.count;
    for (let index = 1; index <= 50; index += 1) foe.record(index, 1, [...files.fds]);
    foe.frame({ body: Uint8Array.of(1) });
    await next(channel);
    expect(ownFds.count).toBe(before);
    await channel.close();
  });
});
