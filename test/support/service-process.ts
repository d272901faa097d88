/**
 * One side of calls in a process of its own, to be stopped and killed. One argument: the choices as
 * JSON. It says on standard output what it has got to, one word a line.
 */

import { OPCODE } from "../../src/protocol/opcodes.ts";
import { RawClient, requestOf } from "./raw-client.ts";

/** What the process does. */
export interface ServiceProcessOptions {
  readonly path: string;
  readonly service: string;
  /** Serve and answer, serve and never answer, or call once. */
  readonly role: "answer" | "keep" | "call";
  /** With SERVE. */
  readonly serve?: Record<string, string | boolean>;
}

const { path, service, role, serve }: ServiceProcessOptions = JSON.parse(process.argv[2] ?? "");

function say(word: string): void {
  process.stdout.write(`${word}\n`);
}

// The test is gone: nobody would end this process.
process.stdin.on("end", () => process.exit(1)).resume();

const client = await RawClient.open(path);

async function serveForEver(): Promise<void> {
  await client.serve(service, serve);
  say("ready");
  for (;;) {
    for (const frame of client.received()) {
      if (frame.opcode !== OPCODE.REQUEST) continue;
      say("requested");
      const { call, text } = requestOf(frame);
      if (role === "answer") client.sendReply(call, text);
    }
    await Bun.sleep(1);
  }
}

async function callOnce(): Promise<void> {
  client.sendRequest(await client.openService(service), 1, "from afar");
  await client.sync();
  say("ready");
  await client.nextOf(OPCODE.REPLY);
}

await (role === "call" ? callOnce() : serveForEver());
