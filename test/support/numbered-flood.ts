/** Messages with numbers in them, more than a client that does not read can have waiting. */

import { SEND_QUEUE_BYTES_MAX } from "../../src/broker/sending/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { eventually } from "./eventually.ts";
import { packetOf, RawClient, type RawFrame } from "./raw-client.ts";

/** Bytes of each body; with its header a frame has 1,024. */
export const NUMBERED_BODY_BYTES = 1_008;

const MESSAGES_PER_PACKET = 64;

/** More than a client's socket and its queue in the broker hold together. */
export const FLOOD_MESSAGES = (2 * SEND_QUEUE_BYTES_MAX + 8 * 1024 * 1024) / 1_024;

/** A body that numberOf() reads. */
export function numberedBody(number: number): Uint8Array {
  const body = new Uint8Array(NUMBERED_BODY_BYTES);
  new DataView(body.buffer).setUint32(0, number, true);
  return body;
}

/** A packet of messages with ascending numbers, on the topics in turn. */
export function numberedPacket(
  topics: readonly number[],
  first: number,
  count = MESSAGES_PER_PACKET,
): Uint8Array {
  return packetOf((writer) => {
    for (let number = first; number < first + count; number += 1) {
      const topic = topics[number % topics.length] ?? 0;
      writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, numberedBody(number));
    }
  });
}

/** The number in a message. */
export function numberOf(frame: RawFrame): number {
  return new DataView(frame.body.buffer).getUint32(0, true);
}

/**
 * Publishes messages 0 to count - 1.
 * @param afterEach lets others read meanwhile
 */
export async function flood(
  publisher: RawClient,
  topics: readonly number[],
  count: number,
  afterEach: () => void = () => {},
): Promise<void> {
  for (let first = 0; first < count; first += MESSAGES_PER_PACKET) {
    await publisher.sendEventually(numberedPacket(topics, first));
    afterEach();
  }
}

/** How packets of a flood are made. */
export interface FloodPacket {
  readonly messages: number;
  /** @param first the number of its first message */
  readonly from: (topic: number, first: number) => Uint8Array;
}

const NUMBERED: FloodPacket = {
  messages: MESSAGES_PER_PACKET,
  from: (topic, first) => numberedPacket([topic], first),
};

/**
 * Sends packets until the broker holds the publisher back, and its socket is full.
 * @returns how many messages it took
 */
export async function floodUntilHeld(
  publisher: RawClient,
  topic: number,
  packet = NUMBERED,
): Promise<number> {
  using bystander = await RawClient.open(publisher.path);
  let sent = 0;
  let wasHeld = false;
  await eventually(async () => {
    while (publisher.trySend(packet.from(topic, sent)) > 0) sent += packet.messages;
    if (wasHeld) return true;
    wasHeld = await isHeld(bystander, publisher);
    return false;
  }, "the publisher is held back");
  return sent;
}

/** The publisher cannot say so itself: its questions wait with its messages. */
async function isHeld(bystander: RawClient, { connection }: RawClient): Promise<boolean> {
  const question = { what: "client", about: String(connection) };
  const { answer } = await bystander.request(OPCODE.QUERY, question);
  const [client]: { state: string }[] = JSON.parse(String(answer));
  return client?.state === "held";
}
