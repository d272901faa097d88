/** The thread behind ClosingThread: closes what the ring brings, in order, until it is terminated. */

import { workerData } from "node:worker_threads";
import { closeHoweverLong } from "../../ffi/closing-process.ts";
import { ClosingRing } from "./closing-ring.ts";
import type { ClosingThreadData } from "./closing-thread.ts";
import { StartSignal } from "./start-signal.ts";

const { ring: memory, signal }: ClosingThreadData = workerData;
const ring = new ClosingRing(memory);
new StartSignal(signal).give();
for (;;) {
  closeHoweverLong(ring.next());
  ring.noteClosed();
}
