/**
 * Clients of another user that misbehave, all in one process: some are let in and stay
 * (rabble/residents.ts), all others come and go (rabble/comers.ts). SIGUSR1 ends it, with a report.
 */

import { dropPrivileges } from "../../src/ffi/process-credentials.ts";
import { raiseOpenFilesLimit } from "../../src/ffi/resource-limits.ts";
import { Comers } from "../rabble/comers.ts";
import { RABBLE_UID } from "../rabble/evidence.ts";
import { Residents } from "../rabble/residents.ts";
import { readWorkOrder, report } from "../work-order.ts";

/** Clients of each sort that do their next misdeed before the process looks at what came back. */
const CLIENTS_A_ROUND = 8;

const order = readWorkOrder();
const { clients = 0, residentsOfEachKind = 0 } = order.siege ?? {};
raiseOpenFilesLimit();
dropPrivileges({ uid: RABBLE_UID, gid: RABBLE_UID, groups: [] });
let isReady = false;
let isOver = false;
process.on("SIGUSR1", () => {
  isOver = true;
});

const residents = new Residents(order.path, residentsOfEachKind);
const comers = new Comers(order.path, clients - residents.size);
while (!isOver) {
  residents.act(CLIENTS_A_ROUND);
  const isLast = comers.act(CLIENTS_A_ROUND);
  if (!isReady && isLast) {
    report({ type: "ready" });
    isReady = true;
  }
  // All come at once; only what follows has a pace.
  if (isReady && order.paceMs > 0) await Bun.sleep(order.paceMs);
  else await new Promise((resolve) => setImmediate(resolve));
}
report({ type: "besieged", attempts: comers.attempts, deeds: residents.deeds });
