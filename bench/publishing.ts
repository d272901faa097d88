/**
 * The loops of publishers, the same for seqbus and for peers: as fast as the window allows, until the
 * time is up. What sends a packet or publishes a message is handed in.
 */

import { type AsyncCreditWindow, CreditWindow } from "./credit.ts";
import { messagesPerPacket } from "./message-ring.ts";
import { SampleFds } from "./sample-fds.ts";
import type { WorkOrder } from "./work-order.ts";

/** Messages between two looks at the window; more than half of it might never fit. */
const BATCH_MESSAGES_MAX = 128;

/**
 * Sends the packets of a ring in turn, blocking where there is no room.
 * @param send sends one packet with fds, which are borrowed
 * @returns messages sent
 */
export function sendRing<Packet>(
  order: WorkOrder,
  ring: readonly Packet[],
  send: (packet: Packet, fds: readonly number[]) => void,
): number {
  const perPacket = messagesPerPacket(order.messageBytes, order.packetBytes);
  const window = new CreditWindow(order);
  using samples = new SampleFds(order.fds);
  const endsAt = performance.now() + order.durationMs;
  let messages = 0;
  for (let at = 0; performance.now() < endsAt && messages < order.messagesMax; at += 1) {
    const packet = ring[at % ring.length];
    if (packet === undefined) break;
    window.awaitRoom(messages + perPacket);
    send(packet, samples.of(at % ring.length));
    messages += perPacket;
  }
  return messages;
}

/**
 * Publishes messages, giving way to the event loop where there is no room.
 * @param publish publishes the message behind so many others
 * @returns messages published
 */
export async function publishBatches(
  order: WorkOrder,
  window: AsyncCreditWindow,
  publish: (messages: number) => void,
): Promise<number> {
  const batch = Math.min(BATCH_MESSAGES_MAX, Math.max(1, order.windowMessages >> 1));
  const endsAt = performance.now() + order.durationMs;
  let messages = 0;
  while (performance.now() < endsAt && messages < order.messagesMax) {
    if (!window.hasRoom(messages + batch)) {
      await window.next();
      continue;
    }
    for (let index = 0; index < batch; index += 1) {
      publish(messages);
      messages += 1;
    }
  }
  return messages;
}
