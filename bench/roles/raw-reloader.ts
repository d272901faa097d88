/**
 * Has the broker load its policy anew, between stretches of time in which it does not. In each
 * stretch one message goes to the whole crowd: after a reload at once, when every route has to be
 * found again.
 */

import { readPolicyPieces } from "../../src/cli/policy-reload.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { buildRing } from "../message-ring.ts";
import { RawSession } from "../raw-session.ts";
import {
  type ReloadOrder,
  readWorkOrder,
  report,
  STRETCH_KINDS,
  type StretchKind,
  type TimedStretch,
  wallClockMs,
} from "../work-order.ts";
import { awaitFrames } from "./raw-frames.ts";
import { NEWS_TOPIC } from "./topic-names.ts";

/** After the last connection was refreshed; what is queued then has gone out by the end of it. */
const SETTLE_MS = 100;

const REQUEST_ID = 1;

const order = readWorkOrder();
const { path, relay, messageBytes, policyPath = "" } = order;
const newsAgent = new RawSession(path, relay, { publish: [NEWS_TOPIC], subscribe: undefined });
const [news] = buildRing(newsAgent.topicIds, messageBytes, 1);
// The last to connect is the last to be refreshed, and so knows when all are.
const session = new RawSession(path, relay, { publish: [], subscribe: undefined });
const stretches: TimedStretch[] = [];
let reloadMs = 0;
if (order.reload !== undefined) await runStretches(order.reload);
report({ type: "stretches", stretches });

async function runStretches({ reloads, restMsMin }: ReloadOrder): Promise<void> {
  // The first news introduce topic and sender to everybody, which is not what is measured.
  await passStretch("rest", restMsMin);
  for (let reload = 0; reload < reloads; reload += 1) {
    for (const kind of STRETCH_KINDS) {
      const from = wallClockMs();
      await passStretch(kind, restMsMin);
      const to = wallClockMs();
      stretches.push({ kind, from, to });
      if (kind === "reload") reloadMs = to - from;
    }
  }
}

async function passStretch(kind: StretchKind, restMsMin: number): Promise<void> {
  if (kind === "reload") {
    session.tell(OPCODE.RELOAD_POLICY, REQUEST_ID);
    awaitFrames(session, [OPCODE.ACK, OPCODE.POLICY_CHANGED], (opcode) => {
      if (opcode === OPCODE.ACK) tellNews();
    });
  } else {
    tellNews();
    if (kind === "reader") await readPolicyPieces(policyPath, { start: ({ make }) => make() });
    else await Bun.sleep(Math.max(restMsMin, reloadMs));
  }
  await Bun.sleep(SETTLE_MS);
}

function tellNews(): void {
  if (news !== undefined) newsAgent.send(news.buffer, news.bytes);
}
