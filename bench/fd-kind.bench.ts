/**
 * What it costs to know the kind of an fd, and what that is in the work of passing one on. Run:
 * `bun bench/fd-kind.bench.ts`.
 *
 * The relay here does the broker's share for one subscriber: receive a record with fds, look at each
 * of them, send it on, close them. With and without the look take turns, so their ratio holds on a
 * noisy machine too.
 */

import { openSync } from "node:fs";
import { do_not_optimize, group } from "mitata";
import { PacketReceiver, sendPacketWithFds } from "../src/ffi/ancillary.ts";
import { fdKind } from "../src/ffi/fd-kind.ts";
import { addSeals, createMemfd, SEALS_FOR_GOOD } from "../src/ffi/memfd.ts";
import { closeFd } from "../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../src/ffi/pinned-buffer.ts";
import { openSeqpacketPair } from "../src/ffi/seqpacket.ts";
import { bench, IS_ONCE, runBenches } from "./micro.ts";

/** Records under way at a time: few enough for any socket buffer and RLIMIT_NOFILE. */
const BURST = 16;
const ROUNDS = IS_ONCE ? 1 : 400;
const REPEATS = IS_ONCE ? 1 : 9;
const RECORD_BYTES = 80;

/** Open files by name; kept until the process ends. */
const FILES: readonly (readonly [string, number])[] = [
  ["memfd-sealed", openSealed()],
  ["memfd, not sealed", createMemfd("bench")],
  ["file of a disk", openSync(import.meta.path, "r")],
  ["file of /proc, which has no disk", openSync("/proc/version", "r")],
  ["pipe or socket", openSeqpacketPair()[0]],
  ["directory", openSync(import.meta.dir, "r")],
  ["anonymous, such as an eventfd", openSync("/proc/self/ns/mnt", "r")],
];

group("fdKind", () => {
  for (const [name, fd] of FILES) bench(name, () => do_not_optimize(fdKind(fd, false)));
  bench("file of a disk, read-only or not", () => do_not_optimize(fdKind(FILES[2]?.[1] ?? -1)));
});

await runBenches();

console.log("\nrelaying a record with fds to 1, us a record, medians\n");
for (const [name, fd] of FILES.slice(0, 3)) {
  for (const count of [1, 16]) compare(`${count} x ${name}`, new Array<number>(count).fill(fd));
}

function openSealed(): number {
  const fd = createMemfd("bench");
  addSeals(fd, SEALS_FOR_GOOD);
  return fd;
}

function compare(name: string, fds: readonly number[]): void {
  const relay = new Relay(fds);
  const plain: number[] = [];
  const looking: number[] = [];
  for (let repeat = 0; repeat < REPEATS; repeat += 1) {
    plain.push(relay.microseconds(false));
    looking.push(relay.microseconds(true));
  }
  const [without, withLook] = [median(plain), median(looking)];
  const ratio = (without / withLook).toFixed(3);
  console.log(
    `${name}: ${without.toFixed(2)} without, ${withLook.toFixed(2)} with, ratio ${ratio}`,
  );
}

/** A publisher, a relay and a subscriber in one thread; only the relay is timed. */
class Relay {
  readonly #fds: readonly number[];
  readonly #record = new PinnedBuffer(RECORD_BYTES);
  readonly #receiver = new PacketReceiver(new PinnedBuffer(RECORD_BYTES));
  readonly #in = openSeqpacketPair();
  readonly #out = openSeqpacketPair();

  constructor(fds: readonly number[]) {
    this.#fds = fds;
  }

  /** Of the relay, for one record. */
  microseconds(isLooking: boolean): number {
    let spent = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      for (let sent = 0; sent < BURST; sent += 1) this.#send(this.#in[0], this.#fds);
      const startedAt = performance.now();
      for (let relayed = 0; relayed < BURST; relayed += 1) this.#relay(isLooking);
      spent += performance.now() - startedAt;
      for (let taken = 0; taken < BURST; taken += 1) {
        this.#receiver.receive(this.#out[1]);
        this.#receiver.closeFds();
      }
    }
    return (spent / ROUNDS / BURST) * 1_000;
  }

  #relay(isLooking: boolean): void {
    this.#receiver.receive(this.#in[1]);
    const fds = this.#receiver.takeFds();
    if (isLooking) for (const fd of fds) do_not_optimize(fdKind(fd, false));
    this.#send(this.#out[0], fds);
    for (const fd of fds) closeFd(fd);
  }

  #send(socket: number, fds: readonly number[]): void {
    sendPacketWithFds(socket, this.#record, 0, RECORD_BYTES, fds);
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >>> 1] ?? Number.NaN;
}
