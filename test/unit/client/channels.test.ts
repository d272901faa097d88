import { expect, test } from "bun:test";
import { openSeqpacketPair } from "../../../src/ffi/seqpacket.ts";
import { FLAG_FDS_ON_LANE, OPCODE } from "../../../src/protocol/opcodes.ts";
import { openFds } from "../ffi/fd-table.ts";
import { SimulatedBus } from "./simulated-bus.ts";

test("openChannel() rejects, and keeps no fd, where the broker does not say who the other is", async () => {
  const simulated = await SimulatedBus.open();
  const channel = simulated.bus.openChannel("a.b");
  const { id } = await simulated.sentOne(OPCODE.OPEN_CHANNEL);
  const before = openFds();
  simulated.transport.lane.push(openSeqpacketPair());
  simulated.receive((writer) =>
    writer.appendControl(OPCODE.CHANNEL, FLAG_FDS_ON_LANE, id, { service: "a.b", peer: 77 }, 2),
  );
  await expect(channel).rejects.toMatchObject({ code: "PROTOCOL_STATE" });
  expect(openFds()).toEqual(before);
});
