/**
 * Connects again and again with ever more fds left to this process, and prints what came of each
 * attempt as JSON. One argument: the path of a broker's socket. Start it with a low `ulimit -n`.
 */

import { closeSync, openSync, readdirSync } from "node:fs";
import { connect } from "../../src/client/connect.ts";

/** One attempt. */
export interface ConnectAttempt {
  readonly freeFds: number;
  /** "connected", or the code of the error. */
  readonly outcome: string;
  readonly leakedFds: number;
}

const FREE_FDS_MAX = 6;

async function tryConnect(path: string): Promise<string> {
  try {
    await using _bus = await connect({ path });
    return "connected";
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

/** Takes all fds but some. @returns those taken */
function takeAllBut(free: number): number[] {
  const taken: number[] = [];
  try {
    for (;;) taken.push(openSync("/dev/null", "r"));
  } catch {
    for (const fd of taken.splice(0, free)) closeSync(fd);
    return taken;
  }
}

function countFds(): number {
  return readdirSync("/proc/self/fd").length;
}

const path = process.argv[2] ?? "";
// Whatever the runtime opens once and keeps, it has from here on.
await tryConnect(path);
const attempts: ConnectAttempt[] = [];
for (let freeFds = 0; freeFds <= FREE_FDS_MAX; freeFds += 1) {
  const before = countFds();
  const taken = takeAllBut(freeFds);
  const outcome = await tryConnect(path);
  for (const fd of taken) closeSync(fd);
  attempts.push({ freeFds, outcome, leakedFds: countFds() - before });
}
process.stdout.write(JSON.stringify(attempts));
process.exit();
