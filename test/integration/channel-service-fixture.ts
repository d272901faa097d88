/**
 * Serves "a.b" to channels until it is killed, the way the README does it: it answers what comes, and
 * catches nothing. Prints a line when it serves, and one for each channel that failed.
 */

import { connect } from "../../src/client/index.ts";

const path = process.argv[2] ?? "";
const bus = await connect({ path });
void report();
await bus.serve("a.b", () => "open a channel", {
  async onChannel(channel) {
    for await (const { data } of channel) {
      if (data === "wait for the end") await channel.closed();
      if (data === "fail") throw new Error("a bug of its own");
      if (data === "fail with a code") channel.send("", { fds: [-1] });
      channel.send(data);
    }
  },
});
process.stdout.write("serving\n");

async function report(): Promise<void> {
  for await (const event of bus.status()) {
    if (event.type !== "channel-failed") continue;
    const { topic, peer, error } = event;
    const code = "code" in error ? error.code : undefined;
    process.stdout.write(`${JSON.stringify({ topic, connection: peer.connection, code })}\n`);
  }
}
