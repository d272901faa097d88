/** The thread behind ClosingThread: closes what the ring brings, in order, until it is terminated. */

import { workerData } from "node:worker_threads";
import { closeHoweverLong } from "../ffi/closing-process.ts";
import { ClosingRing } from "./closing-ring.ts";

const ring = new ClosingRing(workerData);
for (;;) {
  closeHoweverLong(ring.next());
  ring.noteClosed();
}
