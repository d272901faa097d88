/**
 * A subscriber that closes every fd it gets, until it is killed. Arguments: the path of the bus, and
 * "lane" or "in-band". Writes "ready" once it is subscribed.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { RawClient } from "../support/raw-client.ts";

const [path = "", way] = process.argv.slice(2);
const client = await RawClient.open(path, { lane: way === "lane" });
await client.subscribe(">");
process.stdout.write("ready");
for (;;) {
  for (const frame of client.received()) for (const fd of frame.fds) closeFd(fd);
  await nextTurn();
}
