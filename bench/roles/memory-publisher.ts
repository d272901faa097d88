/**
 * Sends each body as sealed memory, past any library. The memory is made beforehand and sent over and
 * over, as raw publishers do with packets: it shows the relay, not what making memory costs.
 */

import { Memory } from "../../src/client/index.ts";
import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { LARGE_SIZE_BYTES } from "../../src/protocol/limits.ts";
import { FLAG_LARGE, OPCODE } from "../../src/protocol/opcodes.ts";
import { PacketWriter } from "../../src/protocol/packet.ts";
import { CreditWindow } from "../credit.ts";
import { buildEnd, FILLER_BYTE, type PrebuiltPacket, RING_PACKETS } from "../message-ring.ts";
import { RawSession } from "../raw-session.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { publisherTopics } from "./topic-names.ts";

const PACKET_BYTES = 64;

const order = readWorkOrder();
const session = new RawSession(order.path, order.relay, {
  publish: publisherTopics(order),
  subscribe: undefined,
});
const [topicId = 0] = session.topicIds;
const packet = buildLargePacket();
const memories = buildMemories();
const window = new CreditWindow(order);

const endsAt = performance.now() + order.durationMs;
let messages = 0;
while (performance.now() < endsAt && messages < order.messagesMax) {
  const memory = memories[messages % RING_PACKETS];
  if (memory === undefined) break;
  window.awaitRoom(messages + 1);
  session.send(packet.buffer, packet.bytes, [memory.fd]);
  messages += 1;
}
const end = buildEnd(topicId, messages);
session.send(end.buffer, end.bytes);
report({ type: "published", messages });
session.close();

/** All messages look alike but for their memory. */
function buildLargePacket(): PrebuiltPacket {
  const buffer = new PinnedBuffer(PACKET_BYTES);
  const writer = new PacketWriter(buffer.bytes.buffer);
  const size = new Uint8Array(LARGE_SIZE_BYTES);
  new DataView(size.buffer).setBigUint64(0, BigInt(order.messageBytes), true);
  writer.append(OPCODE.MESSAGE, FLAG_LARGE, 1, topicId, 0, size);
  return { buffer, bytes: writer.packetBytes };
}

function buildMemories(): Memory[] {
  const body = new Uint8Array(new ArrayBuffer(order.messageBytes)).fill(FILLER_BYTE);
  const words = new Uint32Array(body.buffer, 0, 2);
  words[1] = order.source;
  return Array.from({ length: RING_PACKETS }, (_, number) => {
    words[0] = number;
    return Memory.from(body).seal();
  });
}
