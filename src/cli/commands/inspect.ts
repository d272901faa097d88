/** `seqbus stats`, `seqbus ls` and `seqbus whois`: what goes on on a bus that runs. */

import { type Bus, connect, type QueryEntry } from "../../client/index.ts";
import { ArgumentError } from "../../errors.ts";
import { EXIT } from "../exit-codes.ts";
import { entryLines, statsLines, whoisLines } from "../inspection-lines.ts";
import type { ListName } from "../inspection-program.ts";
import { stdout } from "../output.ts";

/** Options of the three commands. */
export interface InspectOptions {
  readonly socket?: string;
  readonly json?: boolean;
}

/** Prints figures of the broker, its users and units, or with --json one object with all of them. */
export async function runStats(options: InspectOptions): Promise<number> {
  await using bus = await open(options);
  const entries = await Array.fromAsync(bus.query("stats"));
  const ofKind = (kind: string) =>
    entries.filter((entry) => entry["kind"] === kind).map(({ kind: _kind, ...rest }) => rest);
  const [broker = {}] = ofKind("broker");
  const stats = { broker, uids: ofKind("uid"), units: ofKind("unit") };
  if (options.json === true) stdout.write(`${JSON.stringify(stats)}\n`);
  else for (const line of statsLines(stats)) stdout.write(`${line}\n`);
  return EXIT.OK;
}

/** Prints a list, one line an entry, or with --json one object a line. */
export async function runLs(
  list: ListName,
  pattern: string | undefined,
  options: InspectOptions,
): Promise<number> {
  if (list === "clients" && pattern !== undefined) {
    const message =
      "Cannot list clients by a pattern: see `seqbus whois` for uid=, unit= and so on";
    throw new ArgumentError("ARGUMENT_OPTION", message, "pattern");
  }
  await using bus = await open(options);
  const entries = bus.query(list, pattern === undefined ? {} : { about: pattern });
  if (options.json === true) await writeJson(entries);
  else {
    for (const line of entryLines(list, await Array.fromAsync(entries))) stdout.write(`${line}\n`);
  }
  return EXIT.OK;
}

/**
 * Prints all that is known of some clients, or with --json one object a line.
 * @param who connection ids, or KEY=VALUE of what `ls clients --json` shows
 * @throws {ArgumentError} ARGUMENT_CLIENT behind all others, where some are not there or may not be
 *   seen; ARGUMENT_OPTION for what is neither an id nor such a KEY
 */
export async function runWhois(who: readonly string[], options: InspectOptions): Promise<number> {
  await using bus = await open(options);
  const missing: string[] = [];
  for (const text of who) {
    let found = 0;
    for (const id of await connectionsOf(bus, text)) {
      for await (const client of bus.query("client", { about: id })) {
        if (options.json === true) stdout.write(`${JSON.stringify(client)}\n`);
        else for (const line of whoisLines(client)) stdout.write(`${line}\n`);
        found += 1;
      }
    }
    if (found === 0) missing.push(text);
  }
  if (missing.length === 0) return EXIT.OK;
  const message = `Cannot show ${missing.join(", ")}: no such client, or you may not see it`;
  throw new ArgumentError("ARGUMENT_CLIENT", message, "who");
}

async function connectionsOf(bus: Bus, text: string): Promise<readonly string[]> {
  if (/^[0-9]+$/.test(text)) return [text];
  const [, key, value] = /^(uid|gid|pid|unit|exe)=(.+)$/s.exec(text) ?? [];
  if (key === undefined) {
    const message = `Cannot look for ${text}: expected a connection id, or uid=, gid=, pid=, unit=, exe=`;
    throw new ArgumentError("ARGUMENT_OPTION", message, "who");
  }
  const clients = await Array.fromAsync(bus.query("clients"));
  return clients
    .filter((client) => String(client[key]) === value)
    .map((client) => String(client["connection"]));
}

async function writeJson(entries: AsyncIterable<QueryEntry>): Promise<void> {
  for await (const entry of entries) {
    stdout.write(`${JSON.stringify(entry)}\n`);
    await stdout.ready();
  }
}

async function open({ socket }: InspectOptions): Promise<Bus> {
  return await connect(socket === undefined ? {} : { path: socket });
}
