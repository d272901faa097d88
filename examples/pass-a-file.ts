/**
 * Hand an open file to whoever subscribes. Start a broker first:
 *
 *     seqbus broker --socket /tmp/example.sock
 *     SEQBUS_SOCKET=/tmp/example.sock bun examples/pass-a-file.ts
 *
 * A program that has installed the package imports from "seqbus".
 */

import { closeSync, openSync } from "node:fs";
import { connect } from "../src/client/index.ts";

await using bus = await connect();
const opened = await bus.subscribe("files.opened");

const fd = openSync(import.meta.path, "r");
bus.publish("files.opened", { title: "this very example" }, { fds: [fd] });
closeSync(fd); // The message has a copy of its own.

for await (const { data, fds, sender } of opened) {
  using file = fds.take(0); // Closed at the end of this block; what is not taken closes itself.
  // From its start, though all who receive the file share one position.
  const [, line = ""] = (await file.text()).split("\n");
  console.log(`uid ${sender.uid} passed ${JSON.stringify(data)}, which begins:\n${line}`);
  break;
}
