/** RETAIN frames as a client would send them, or as it should not. */

import { BODY_PREFIX_BYTES } from "../../src/protocol/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { packetOf } from "./raw-client.ts";

/** What of a last value is not the same for most tests. */
export interface RetainFields {
  /** Milliseconds; 0: for ever. */
  readonly keptMs?: number;
  readonly fdCount?: number;
  readonly flags?: number;
}

/** One last value alone in its packet. */
export function retainPacket(
  topicId: number,
  body: string | Uint8Array,
  { keptMs = 0, fdCount = 0, flags = 0 }: RetainFields = {},
): Uint8Array {
  const whole = new Uint8Array([...new Uint8Array(BODY_PREFIX_BYTES), ...Buffer.from(body)]);
  new DataView(whole.buffer).setUint32(0, keptMs, true);
  return packetOf((writer) => writer.append(OPCODE.RETAIN, flags, fdCount, topicId, 0, whole));
}
