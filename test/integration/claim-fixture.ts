/**
 * Claims the service own.race, and holds it until it is killed. Arguments: the path of the bus, and
 * what to do where somebody owns it. Writes "ready" once it is connected, and claims when its
 * standard input ends. Ends where it is refused, or replaced.
 */

import { connect } from "../../src/client/index.ts";
import { RejectedError } from "../../src/errors.ts";
import type { IfOwned } from "../../src/protocol/words.ts";

const [path = "", ifOwned] = process.argv.slice(2);
await using bus = await connect({ path, reconnect: false });
process.stdout.write("ready");
await Bun.stdin.text();
try {
  const service = await bus.serve("own.race", () => process.pid, { ifOwned: ifOwned as IfOwned });
  await service.closed();
} catch (error) {
  const isRefused = error instanceof RejectedError && error.code === "REJECTED_SERVICE_OWNED";
  if (!isRefused) throw error;
}
