/** A service of a simulated bus, and what it sends. */

import { expect } from "bun:test";
import type { ServeOptions, Service } from "../../../src/client/index.ts";
import type { ServiceHandler } from "../../../src/client/request-run.ts";
import { ENCODING, FLAG_FAILED, OPCODE } from "../../../src/protocol/opcodes.ts";
import { mapOf, type SimulatedBus } from "./simulated-bus.ts";
import type { SentFrame } from "./simulated-transport.ts";

/** The broker's number of the service. */
export const SERVICE = 33;

/** Serves "a.b", which the broker grants. */
export async function serveOn(
  simulated: SimulatedBus,
  handler: ServiceHandler,
  options: ServeOptions = {},
): Promise<Service> {
  const service = simulated.bus.serve("a.b", handler, options);
  const { id } = await simulated.sentOne(OPCODE.SERVE);
  simulated.control(OPCODE.ACK, id, { service: SERVICE, generation: 1, isOwner: true });
  return await service;
}

/** The body of a frame as text. */
export function text({ body }: SentFrame): string {
  return new TextDecoder().decode(body);
}

/** What a REPLY with FAILED says. */
export function failureOf(frame: SentFrame): unknown {
  expect(frame.flags).toBe(ENCODING.MSGPACK | FLAG_FAILED);
  return mapOf(frame);
}
