/**
 * Puts two policies in force in turns, and leaves each in peace for a while: rates in one broker can
 * be compared far closer than those of two.
 */

import { writeFileSync } from "node:fs";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { policyText } from "../policy-rules.ts";
import { RawSession } from "../raw-session.ts";
import {
  readWorkOrder,
  report,
  SWAP_KINDS,
  type SwapOrder,
  type TimedStretch,
  wallClockMs,
} from "../work-order.ts";
import { awaitFrames } from "./raw-frames.ts";

/** After a reload: the process that read the policy has gone, and garbage with it. */
const SETTLE_MS = 100;

const REQUEST_ID = 1;

const { path, relay, policyPath = "", swap } = readWorkOrder();
const session = new RawSession(path, relay, { publish: [], subscribe: undefined });
const stretches: TimedStretch[] = [];
if (swap !== undefined) await runSwaps(swap);
report({ type: "stretches", stretches });

async function runSwaps({ one, other, swaps, stretchMs }: SwapOrder): Promise<void> {
  for (let at = 0; at < swaps; at += 1) {
    // Small and large, large and small: what drifts with time comes to both alike.
    const kind = SWAP_KINDS[((at + 1) >> 1) % SWAP_KINDS.length] ?? "one";
    const policy = kind === "one" ? one : other;
    writeFileSync(policyPath, policyText(policy));
    session.tell(OPCODE.RELOAD_POLICY, REQUEST_ID);
    awaitFrames(session, [OPCODE.ACK, OPCODE.POLICY_CHANGED]);
    await Bun.sleep(SETTLE_MS);
    const from = wallClockMs();
    await Bun.sleep(stretchMs);
    stretches.push({ kind, from, to: wallClockMs() });
  }
}
