/** Reading from a client that sends fds or small packets, in batches. Real sockets and files. */

import { expect, test } from "bun:test";
import { fstatSync } from "node:fs";
import type { Connection } from "../../../../src/broker/connection.ts";
import { KeptFds } from "../../../../src/broker/fds/kept-fds.ts";
import { AHEAD_OF_BYTES_MAX, PACKETS_PER_TURN } from "../../../../src/broker/reading/limits.ts";
import type { ReceivedPacket } from "../../../../src/broker/reading/packet-handler.ts";
import { type PacketRest, PacketRests } from "../../../../src/broker/reading/packet-rests.ts";
import { PacketSource } from "../../../../src/broker/reading/packet-source.ts";
import { Reading, type ReadingParts } from "../../../../src/broker/reading/reading.ts";
import { sendPacketWithFds } from "../../../../src/ffi/ancillary.ts";
import { createMemfd } from "../../../../src/ffi/memfd.ts";
import { closeFd } from "../../../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../../../src/ffi/pinned-buffer.ts";
import { RECORDS_RECEIVED_TOGETHER_MAX } from "../../../../src/ffi/received-records.ts";
import { sendPacket } from "../../../../src/ffi/seqpacket.ts";
import { setSendBufferBytes } from "../../../../src/ffi/socket-options.ts";
import { MESSAGE_FDS_MAX, PACKET_BYTES_MAX } from "../../../../src/protocol/limits.ts";
import { leakingNoFds } from "../../ffi/fd-table.ts";
import { SocketPair } from "../../ffi/socket-pair.ts";

const PACKET_BYTES = 16;

/** What a handler makes of a packet: it waits for its turn, for a subscriber, or ends its sender. */
type Stop = "turn" | "subscriber" | "end";

/** One client, and a handler that notes its packets. */
class ReadingBench implements Disposable {
  readonly pair = new SocketPair();
  readonly connection: Connection;
  readonly reading: Reading;
  /** Each packet that was handled: its mark, and the inodes of its files. */
  readonly handled: [mark: number, inodes: number[]][] = [];
  /** Marks of packets at which the handler stops, once. */
  readonly stops = new Map<number, Stop>();
  /** Packets ahead whenever one was handled. */
  readonly ahead: number[] = [];
  /** Marks of packets that were handled as one of many. */
  readonly together: number[] = [];
  /** Why the client was ended. */
  ended: string | undefined;
  hasTime = true;
  roomForFds = Number.POSITIVE_INFINITY;
  roomToKeep = Number.POSITIVE_INFINITY;
  pendingCloses = 0;
  readonly #inFlight = { follow: false, turn: 0 };
  readonly #rests = new PacketRests();
  #held: PacketRest | undefined;
  readonly #source: PacketSource;

  constructor(verifiesPackets = false) {
    setSendBufferBytes(this.pair.near.number, 1024 * 1024);
    const identity = { uid: 7, gid: 7, pid: 0, groups: [] };
    const connection = { socket: this.pair.far, identity, state: "OPEN", readInTurn: 0 };
    this.connection = connection as unknown as Connection;
    this.#source = new PacketSource({
      closer: { isFull: () => false },
      files: { closeFd },
      budget: { roomToReserve: MESSAGE_FDS_MAX },
      verifiesPackets,
    });
    const end = (why: string): void => {
      this.ended = why;
      this.connection.state = "DOOMED";
      this.reading.leave(this.connection);
    };
    const parts = {
      source: this.#source,
      rests: this.#rests,
      verifiesPackets,
      handler: {
        handle: (_connection: Connection, packet: ReceivedPacket, packetBytes: number) =>
          this.#note(packet, packetBytes),
      },
      backPressure: {
        hold: (_connection: Connection, rest: PacketRest) => {
          this.#held = rest;
        },
        leave: () => this.#held?.closeFds(),
        clear: () => {},
      },
      files: {
        keep: (fds: number[]) => new KeptFds(fds, () => {}, closeFd),
        keepPaid: (packet: ReceivedPacket) => {
          return new KeptFds(packet.takeFds(), () => {}, closeFd, true);
        },
        roomToKeep: () => this.roomToKeep,
      },
      closer: { isFull: () => false, pendingOf: () => this.pendingCloses },
      budget: this,
      heldOff: { add: () => {}, drop: () => {} },
      inFlight: this.#inFlight,
      host: {
        hasTime: () => this.hasTime,
        hasShareLeft: () => true,
        end: () => end("refused"),
        endForProtocol: (_connection: Connection, error: Error) => end(error.message),
        doom: () => end("gone"),
      },
    };
    this.reading = new Reading(parts as unknown as ReadingParts);
  }

  /** Whether nothing was left for later turns. */
  get isIdle(): boolean {
    return this.#rests.size === 0;
  }

  /** Sends a packet whose bytes are `mark`, with new files. @returns the inodes of these */
  send(mark: number, files = 1, bytes: number = PACKET_BYTES): number[] {
    const buffer = new PinnedBuffer(bytes);
    buffer.bytes.fill(mark);
    const fds = Array.from({ length: files }, () => createMemfd("sent"));
    const inodes = fds.map((fd) => fstatSync(fd).ino);
    const { number } = this.pair.near;
    const sent =
      files === 0
        ? sendPacket(number, buffer, 0, bytes)
        : sendPacketWithFds(number, buffer, 0, bytes, fds);
    expect(sent).toBe(bytes);
    for (const fd of fds) closeFd(fd);
    return inodes;
  }

  /** Sends packets 1 to `count` with one file each. @returns what handling them all gives */
  sendMany(count: number): [mark: number, inodes: number[]][] {
    return Array.from({ length: count }, (_, index) => [index + 1, this.send(index + 1)]);
  }

  /** It was read from in the turn before, too: else one packet alone is received. */
  read(): void {
    this.#inFlight.turn += 1;
    this.reading.read(this.connection, false);
  }

  /** The subscriber that holds the client back has read. */
  release(): void {
    const held = this.#held;
    if (held === undefined) throw new Error("The client is not held back");
    this.#held = undefined;
    this.#rests.push(this.connection, held);
  }

  [Symbol.dispose](): void {
    this.pair[Symbol.dispose]();
  }

  #note(packet: ReceivedPacket, packetBytes: number): number {
    const mark = packet.buffer.bytes[0] ?? 0;
    const stop = this.stops.get(mark);
    this.stops.delete(mark);
    this.ahead.push(this.#source.ahead);
    if (stop === "subscriber") this.reading.noteHeld([], "topic");
    if (stop === "subscriber" || stop === "turn") {
      this.reading.keepFds(this.connection, packet, packet.receivedFdCount);
      return 0;
    }
    const fds = packet.takeFds();
    const inodes = fds.map((fd) => fstatSync(fd).ino);
    for (const fd of fds) closeFd(fd);
    this.handled.push([mark, inodes]);
    if (this.#inFlight.follow) this.together.push(mark);
    if (stop === "end") this.connection.state = "DOOMED";
    return packetBytes;
  }
}

test(
  "read() handles packets with fds in order, each with its own, and a turn's worth at a time",
  leakingNoFds(() => {
    using bench = new ReadingBench();
    const sent = bench.sendMany(PACKETS_PER_TURN + 5);
    bench.read();
    expect(bench.handled).toEqual(sent.slice(0, PACKETS_PER_TURN));
    bench.read();
    expect(bench.handled).toEqual(sent);
    expect(Math.max(...bench.ahead)).toBe(RECORDS_RECEIVED_TOGETHER_MAX - 1);
  }),
);

test(
  "read() handles packets without fds among them as well",
  leakingNoFds(() => {
    using bench = new ReadingBench();
    const sent = [3, 0, 0, 1, 2, 0, 1].map((files, index) => [
      index + 1,
      bench.send(index + 1, files),
    ]);
    bench.read();
    expect(bench.handled).toEqual(sent as typeof bench.handled);
    expect(bench.isIdle).toBe(true);
  }),
);

for (const stop of ["turn", "subscriber"] as const) {
  test(
    `goOn() handles what was received behind a packet that waits for its ${stop}, after it`,
    leakingNoFds(() => {
      using bench = new ReadingBench();
      const sent = bench.sendMany(10);
      bench.stops.set(4, stop);
      bench.read();
      expect(bench.handled).toEqual(sent.slice(0, 3));
      bench.send(11);
      if (stop === "subscriber") bench.release();
      bench.stops.set(6, "turn");
      bench.read();
      bench.reading.goOn(bench.connection);
      expect(bench.handled).toEqual(sent.slice(0, 5));
      bench.reading.goOn(bench.connection);
      expect(bench.handled).toEqual(sent);
      expect(bench.together).toEqual([2, 3, 5, 7, 8, 9, 10]);
      bench.read();
      expect(bench.together).not.toContain(11);
      expect(bench.handled.map(([mark]) => mark)).toContain(11);
    }),
  );
}

test(
  "goOn() handles one packet where there is no time, and the next ones in later turns",
  leakingNoFds(() => {
    using bench = new ReadingBench();
    const sent = bench.sendMany(5);
    bench.stops.set(2, "turn");
    bench.read();
    bench.hasTime = false;
    for (let turn = 2; turn <= 5; turn += 1) {
      expect(bench.isIdle).toBe(false);
      bench.reading.goOn(bench.connection);
      expect(bench.handled).toEqual(sent.slice(0, turn));
    }
    expect(bench.isIdle).toBe(true);
  }),
);

for (const stop of ["turn", "subscriber"] as const) {
  test(
    `leave() closes the fds of what was received behind a packet that waits for its ${stop}`,
    leakingNoFds(() => {
      using bench = new ReadingBench();
      bench.sendMany(10);
      bench.stops.set(4, stop);
      bench.read();
      bench.reading.leave(bench.connection);
      expect(bench.handled).toHaveLength(3);
    }),
  );
}

test(
  "clear() closes the fds of what was received behind a packet that waits",
  leakingNoFds(() => {
    using bench = new ReadingBench();
    bench.sendMany(10);
    bench.stops.set(4, "turn");
    bench.read();
    expect(bench.isIdle).toBe(false);
    bench.reading.clear();
    expect(bench.isIdle).toBe(true);
  }),
);

test(
  "read() closes the fds of what was received ahead where a packet ends its sender",
  leakingNoFds(() => {
    using bench = new ReadingBench();
    const sent = bench.sendMany(10);
    bench.stops.set(4, "end");
    bench.read();
    expect(bench.handled).toEqual(sent.slice(0, 4));
  }),
);

test(
  "read() ends a client at a packet that is too long, behind those before it",
  leakingNoFds(() => {
    using bench = new ReadingBench();
    const sent = bench.sendMany(3);
    bench.send(4, 1, PACKET_BYTES_MAX + 1);
    bench.send(5);
    bench.read();
    expect(bench.handled).toEqual(sent);
    expect(bench.ended).toContain("Cannot read packet");
  }),
);

test(
  "read() ends a client for a packet that is too long while one before it waits, fds and all",
  leakingNoFds(() => {
    using bench = new ReadingBench();
    const sent = bench.sendMany(3);
    bench.stops.set(2, "turn");
    bench.send(4, 1, PACKET_BYTES_MAX + 1);
    bench.send(5);
    bench.read();
    expect(bench.handled).toEqual(sent.slice(0, 1));
    expect(bench.ended).toContain("Cannot read packet");
    expect(bench.isIdle).toBe(true);
  }),
);

test(
  "goOn() ends a client at the end that was received behind all that it sent",
  leakingNoFds(() => {
    using bench = new ReadingBench();
    const sent = bench.sendMany(6);
    bench.stops.set(3, "turn");
    bench.pair.near.close();
    bench.read();
    expect(bench.ended).toBeUndefined();
    bench.reading.goOn(bench.connection);
    expect(bench.handled).toEqual(sent);
    expect(bench.ended).toBe("gone");
  }),
);

const readFive = (bench: ReadingBench, packetBytes?: number) => {
  for (let mark = 1; mark <= 5; mark += 1) bench.send(mark, 0, packetBytes);
  bench.read();
  return bench.ahead.slice(-5);
};

test("read() receives small packets ahead behind the second, and large ones one by one", () => {
  using bench = new ReadingBench();
  expect(readFive(bench, AHEAD_OF_BYTES_MAX + 1)).toEqual([0, 0, 0, 0, 0]);
  expect(readFive(bench)).toEqual([0, 0, 2, 1, 0]);
});

test("read() receives packets ahead from the first where the turn before had many small ones", () => {
  using bench = new ReadingBench();
  readFive(bench);
  expect(readFive(bench)).toEqual([4, 3, 2, 1, 0]);
  expect(readFive(bench, AHEAD_OF_BYTES_MAX + 1)).toEqual([4, 3, 2, 1, 0]);
  expect(readFive(bench, AHEAD_OF_BYTES_MAX + 1)).toEqual([0, 0, 0, 0, 0]);
  expect(bench.handled).toHaveLength(20);
});

test("read() receives the first packet of a turn alone where the turn before had fds", () => {
  using bench = new ReadingBench();
  bench.send(1, 1);
  readFive(bench);
  expect(readFive(bench).at(0)).toBe(0);
  expect(readFive(bench).at(0)).toBe(4);
});

test("read() receives no more ahead than there is room for whatever fds they have", () => {
  using bench = new ReadingBench();
  const sent = bench.sendMany(8);
  bench.roomForFds = 3 * MESSAGE_FDS_MAX;
  bench.read();
  expect(bench.handled).toEqual(sent);
  expect(Math.max(...bench.ahead)).toBe(2);
});

test("read() receives nothing ahead where there is room for the fds of one packet alone", () => {
  using bench = new ReadingBench();
  const sent = bench.sendMany(8);
  bench.roomForFds = 2 * MESSAGE_FDS_MAX - 1;
  bench.read();
  expect(bench.handled).toEqual(sent);
  expect(Math.max(...bench.ahead)).toBe(0);
});

test("read() receives no more ahead than its user may bring fds", () => {
  using bench = new ReadingBench();
  const sent = bench.sendMany(8);
  bench.roomToKeep = 3 * MESSAGE_FDS_MAX;
  bench.read();
  expect(bench.handled).toEqual(sent);
  expect(Math.max(...bench.ahead)).toBe(2);
});

test("read() receives one packet after the other of a user that may bring no more fds", () => {
  using bench = new ReadingBench();
  const sent = bench.sendMany(8);
  bench.roomToKeep = -1;
  bench.read();
  expect(bench.handled).toEqual(sent);
  expect(Math.max(...bench.ahead)).toBe(0);
});

test("read() receives nothing ahead while files of that user are being closed", () => {
  using bench = new ReadingBench();
  const sent = bench.sendMany(8);
  bench.pendingCloses = 1;
  bench.read();
  expect(bench.handled).toEqual(sent);
  expect(Math.max(...bench.ahead)).toBe(0);
});

test(
  "read() receives nothing ahead where each packet must be its sender's",
  leakingNoFds(() => {
    using bench = new ReadingBench(true);
    bench.sendMany(3);
    bench.read();
    expect(bench.handled).toEqual([]);
    expect(bench.ended).toBe("refused");
  }),
);
