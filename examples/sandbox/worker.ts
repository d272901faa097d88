/**
 * The worker: reads a file that it could not open itself. Runs in the sandbox; worker.sh starts it.
 *
 *     worker.ts NAME...
 *
 * tries what a hostile worker would try first, then asks the opener for each NAME, reads what it
 * gets to the end, and tries to write to it. Ends with 1 if any of that succeeds which must not.
 */

import {
  closeSync,
  constants,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { networkInterfaces } from "node:os";
import { connect, type ReceivedFd, ServiceError } from "../../src/client/index.ts";

/** Something was looked for, and there is none. */
class Absence extends Error {
  readonly code = "NONE";
}

/** What no sandbox may have, or let be done. */
const ATTEMPTS: readonly (readonly [what: string, attempt: () => unknown])[] = [
  ["open /etc/passwd", () => openSync("/etc/passwd", "r")],
  ["list /home", () => readdirSync("/home")],
  ["list /root", () => readdirSync("/root")],
  ["list /tmp", () => readdirSync("/tmp")],
  ["list /dev", () => readdirSync("/dev")],
  // The process that bubblewrap leaves behind has the sandbox's root as well.
  ["open /proc/1/root/etc/passwd", () => openSync("/proc/1/root/etc/passwd", "r")],
  ["write /kept", () => writeFileSync("/kept", "")],
  ["write /bus/kept", () => writeFileSync("/bus/kept", "")],
  ["find a network", findNetwork],
  ["find a variable of those who started it", findVariable],
];

function findNetwork(): void {
  const found = Object.keys(networkInterfaces()).some((name) => name !== "lo");
  if (!found) throw new Absence();
}

/** The environment of the process that bubblewrap leaves behind is what bubblewrap was given. */
function findVariable(): void {
  const variables = readFileSync("/proc/1/environ", "utf8").split("\0");
  const found = variables.some((text) => text !== "" && !text.startsWith("PATH="));
  if (!found) throw new Absence();
}

/** Says how an attempt failed. One that succeeds is the end of the example's promise. */
async function tryTo(what: string, attempt: () => unknown): Promise<void> {
  try {
    await attempt();
  } catch (error) {
    console.log(`cannot ${what}: ${codeOf(error)}`);
    return;
  }
  console.log(`CAN ${what}`);
  process.exitCode = 1;
}

function codeOf(error: unknown): unknown {
  return (error as { readonly code?: unknown } | null)?.code ?? error;
}

async function readAndProbe(file: ReceivedFd): Promise<void> {
  console.log(await file.text());
  await tryTo("write to it", () => writeSync(file.fd, "x"));
  // The way around a read-only fd: a new one for the same file. What keeps it shut is that the file
  // belongs to another user.
  const path = `/proc/self/fd/${file.fd}`;
  await tryTo("open it anew for writing", () => closeSync(openSync(path, constants.O_RDWR)));
}

console.log(`sees /${readdirSync("/").sort().join(" /")}`);
for (const [what, attempt] of ATTEMPTS) await tryTo(what, attempt);

await using bus = await connect();
console.log(`is uid ${process.getuid?.()} in here and uid ${bus.self.uid} on the bus`);
await tryTo("take the opener's place", () =>
  bus.serve("files.open", () => "anything", { ifOwned: "replace" }),
);
await tryTo("listen to others", () => bus.subscribe(">"));

for (const name of process.argv.slice(2)) {
  try {
    using answer = await bus.call("files.open", { name });
    using file = answer.fds.take(0);
    console.log(`got ${JSON.stringify(name)} from uid ${answer.sender.uid}, ${file.kind}:`);
    await readAndProbe(file);
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    console.log(`got no ${JSON.stringify(name)}: ${error.code}`);
  }
}
