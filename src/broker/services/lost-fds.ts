/**
 * Packets of which not all fds could be taken in, where they are about a call: it ends with a word to
 * its caller, who would else wait for an answer until its time is up.
 */

import { FRAME_ID_WORD, FRAME_KIND_WORD, opcodeOf } from "../../protocol/frame.ts";
import { BODY_PREFIX_BYTES, FRAME_HEADER_BYTES } from "../../protocol/limits.ts";
import { OPCODE } from "../../protocol/opcodes.ts";
import type { Connection } from "../connection.ts";
import type { FdBudget } from "../fds/fd-budget.ts";
import type { Calls } from "./calls.ts";

/** Word of a REQUEST that holds the call. */
const CALL_WORD = FRAME_HEADER_BYTES / 4;

/** Ends calls whose fds were lost. */
export class LostFds {
  readonly #calls: Pick<Calls, "fail">;
  readonly #budget: Pick<FdBudget, "figures">;

  constructor(calls: Pick<Calls, "fail">, budget: Pick<FdBudget, "figures">) {
    this.#calls = calls;
    this.#budget = budget;
  }

  /**
   * Ends the call that a packet is about.
   * @param words the packet, from word 0; nothing of it was checked
   * @returns the call of a REQUEST, which the refusal is to answer; 0 for anything else. The caller
   *   behind a REPLY has been told
   */
  note({ services }: Connection, words: Uint32Array, packetBytes: number): number {
    if (services === undefined || packetBytes < FRAME_HEADER_BYTES) return 0;
    const opcode = opcodeOf(words[FRAME_KIND_WORD] as number);
    const id = words[FRAME_ID_WORD] as number;
    if (opcode === OPCODE.REPLY) {
      const pending = services.requests.get(id);
      const why = "the fds of the reply could not be taken in";
      const { figures } = this.#budget;
      if (pending !== undefined) {
        this.#calls.fail(pending, { code: "LIMIT_QUEUED_FDS", why, figures });
      }
      return 0;
    }
    const isWhole = packetBytes >= FRAME_HEADER_BYTES + BODY_PREFIX_BYTES;
    if (opcode !== OPCODE.REQUEST || !isWhole) return 0;
    const service = services.open.get(id)?.service;
    const call = words[CALL_WORD] as number;
    if (service === undefined || services.calls.has(call)) return 0;
    for (const { figures } of [services, service]) {
      figures.calls += 1;
      figures.callsFailed += 1;
    }
    return call;
  }
}
