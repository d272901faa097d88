/**
 * Micro benchmark of the FFI layer: one record sent and received again on one SEQPACKET pair, by
 * one thread. Run: `bun bench/send-receive.bench.ts`. The call without a syscall is the floor.
 */

import { do_not_optimize, group } from "mitata";
import { PacketReceiver } from "../src/ffi/ancillary.ts";
import { Epoll } from "../src/ffi/epoll.ts";
import { copyPinned, PinnedBuffer } from "../src/ffi/pinned-buffer.ts";
import { openSeqpacketPair, sendPacket } from "../src/ffi/seqpacket.ts";
import { PACKET_BYTES_MAX } from "../src/protocol/limits.ts";
import { bench, runBenches } from "./micro.ts";

const [ours, theirs] = openSeqpacketPair();
const buffer = new PinnedBuffer(PACKET_BYTES_MAX);
const target = new PinnedBuffer(PACKET_BYTES_MAX);
const receiver = new PacketReceiver(target);

group("send and receive", () => {
  for (const bytes of [64, 1_024, 32_768, PACKET_BYTES_MAX]) {
    bench(`sendPacket + receive, ${bytes} bytes`, () => {
      sendPacket(ours, buffer, 0, bytes);
      do_not_optimize(receiver.receive(theirs));
    });
  }
  bench("receive, nothing there", () => do_not_optimize(receiver.receive(theirs)));
});

group("beside it", () => {
  const epoll = new Epoll();
  epoll.add(theirs, 1, 0);
  bench("Epoll.wait(0), nothing there", () => do_not_optimize(epoll.wait(0)));
  bench("copyPinned, 80 bytes (a call without a syscall)", () =>
    copyPinned(buffer, 0, target, 0, 80),
  );
  bench("copyPinned, 32 KiB", () => copyPinned(buffer, 0, target, 0, 32_768));
});

await runBenches();
