/**
 * A program of somebody else, who has installed the package and knows nothing of this checkout.
 * scripts/check-package.ts copies it into a scratch project, checks its types and runs it there.
 */

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "seqbus";

const directory = mkdtempSync(join(tmpdir(), "seqbus-consumer-"));
const path = join(directory, "bus.sock");
const broker = Bun.spawn(["node_modules/.bin/seqbus", "broker", "--socket", path], {
  stdio: ["ignore", "inherit", "inherit"],
});

try {
  await exchangeReading();
  broker.kill("SIGTERM");
  check("exit code of the broker after SIGTERM", await broker.exited, 0);
  check("the socket still exists", existsSync(path), false);
} finally {
  broker.kill("SIGKILL");
  await broker.exited;
  rmSync(directory, { recursive: true, force: true });
}

async function exchangeReading(): Promise<void> {
  await using bus = await connectWhenReady();
  const readings = await bus.subscribe("sensors.*");
  bus.publish("sensors.a", { celsius: 21.5 });
  for await (const message of readings) {
    check("topic", message.topic, "sensors.a");
    check("data", JSON.stringify(message.data), '{"celsius":21.5}');
    check("uid of the sender", message.sender.uid, process.getuid?.());
    break;
  }
}

/** Tries until the broker listens or has ended. */
async function connectWhenReady(): ReturnType<typeof connect> {
  for (;;) {
    try {
      return await connect({ path });
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      const notYet = code === "ENOENT" || code === "ECONNREFUSED";
      if (!notYet || broker.exitCode !== null) throw error;
      await Bun.sleep(5);
    }
  }
}

function check(what: string, actual: unknown, wanted: unknown): void {
  if (actual !== wanted) throw new Error(`${what} is ${String(actual)}, wanted ${String(wanted)}`);
}
