/**
 * The opener: serves "files.open", and decides who may open what. Runs outside of the sandbox.
 *
 *     bun examples/sandbox/opener.ts 60712=/srv/inbox
 *
 * lets uid 60712 open the files in /srv/inbox, by their names. A program that has installed the
 * package imports from "seqbus". See README.md beside this file.
 */

import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { join } from "node:path";
import { connect, type PreparedReply, reply, type ServiceRequest } from "../../src/client/index.ts";

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = constants;
/** No link is followed, and a FIFO that somebody put there does not hold the opener up. */
const FLAGS = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

/** What a caller is told. Never where the file lies, nor what else there is. */
class Refusal extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** The directory of each user who may open anything. */
const directories = new Map<number, string>();
for (const grant of process.argv.slice(2)) {
  const [, uid, directory] = /^(\d+)=(\/.*)$/.exec(grant) ?? [];
  if (uid === undefined || directory === undefined) throw new Error(`Not UID=/PATH: ${grant}`);
  directories.set(Number(uid), directory);
}

/** The caller wrote the name; the kernel says who the caller is. */
function openFor({ data, sender }: ServiceRequest): PreparedReply {
  const directory = directories.get(sender.uid);
  if (directory === undefined) throw new Refusal("NOT_ALLOWED", "You may open nothing");
  const name = nameIn(data);
  const fd = openFile(join(directory, name));
  try {
    if (!fstatSync(fd).isFile()) throw new Refusal("NOT_A_FILE", "That is no regular file");
    return reply({ name }, { fds: [fd] });
  } finally {
    closeSync(fd); // The answer has a copy of its own.
  }
}

function nameIn(data: unknown): string {
  const name: unknown = (data as { readonly name?: unknown } | null | undefined)?.name;
  // With no slash in it a name leads neither up nor on.
  if (typeof name === "string" && /^[^/\0]{1,255}$/.test(name)) return name;
  throw new Refusal("BAD_NAME", "A name is one word, without a slash");
}

function openFile(path: string): number {
  try {
    return openSync(path, FLAGS);
  } catch {
    throw new Refusal("NOT_FOUND", "There is no such file to open");
  }
}

function logged(request: ServiceRequest): PreparedReply {
  const { uid, pid, unit, exe } = request.sender;
  const who = `uid ${uid}, pid ${pid}, unit ${unit ?? "unknown"}, exe ${exe ?? "unknown"}`;
  // As JSON: a name with a line break must not write a line of its own.
  const what = JSON.stringify(request.data);
  try {
    const answer = openFor(request);
    console.log(`opened ${what} for ${who}`);
    return answer;
  } catch (error) {
    console.log(`refused ${what} to ${who}: ${error instanceof Refusal ? error.code : error}`);
    throw error;
  }
}

await using bus = await connect();
await using service = await bus.serve("files.open", logged);
console.log(`serves ${service.topic}`);
await bus.closed();
