import { expect, test } from "bun:test";
import { ChannelTransport } from "../../../src/client/channel-transport.ts";
import { PacketReceiver } from "../../../src/ffi/ancillary.ts";
import { OwnedFd } from "../../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import { openSeqpacketPair, sendPacket } from "../../../src/ffi/seqpacket.ts";
import { WOULD_BLOCK } from "../../../src/ffi/syscall-result.ts";
import { PACKET_BYTES_MAX } from "../../../src/protocol/limits.ts";
import { eventually } from "../../support/eventually.ts";
import { TestFiles } from "../../support/test-files.ts";

test("ChannelTransport.send() puts fds on the lane once, however often their packet must wait", async () => {
  using files = new TestFiles(["x"]);
  using stack = new DisposableStack();
  const adopt = (fd: number) => stack.use(OwnedFd.adopt(fd));
  const [packets, farPackets] = openSeqpacketPair().map(adopt) as [OwnedFd, OwnedFd];
  const [lane, farLane] = openSeqpacketPair().map(adopt) as [OwnedFd, OwnedFd];
  const filler = new PinnedBuffer(PACKET_BYTES_MAX);
  for (const bytes of [PACKET_BYTES_MAX, 16]) {
    while (sendPacket(packets.number, filler, 0, bytes) !== WOULD_BLOCK);
  }
  let writable = 0;
  const transport = await ChannelTransport.open(packets, lane, {
    onPacket: () => {},
    onWritable: () => {
      writable += 1;
    },
    onClose: () => {},
  });
  const packet = new PinnedBuffer(16);
  packet.words[0] = 16;
  expect(transport.send(packet, 16, files.fds)).toBe(WOULD_BLOCK);
  expect(transport.send(packet, 16, files.fds)).toBe(WOULD_BLOCK);

  const receiver = new PacketReceiver(new PinnedBuffer(PACKET_BYTES_MAX));
  while (receiver.receive(farPackets.number) > 0);
  await eventually(() => writable > 0, "the transport says that it can write");
  // What was offered to Bun meanwhile was not kept there.
  expect(receiver.receive(farPackets.number)).toBe(WOULD_BLOCK);
  expect(transport.send(packet, 16, files.fds)).toBe(16);
  expect(receiver.receive(farPackets.number)).toBe(16);
  expect(receiver.receive(farLane.number)).toBe(8);
  expect(receiver.closeFds()).toBe(1);
  expect(receiver.receive(farLane.number)).toBe(WOULD_BLOCK);
  transport.close();
});
