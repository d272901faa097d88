/**
 * A broker as a process of its own, without the command line. One argument: BrokerProcessOptions as
 * JSON. Every event goes to stderr as one line of JSON, and so does what comes on standard input, behind
 * all events so far; SIGTERM ends it cleanly.
 */

import { Broker } from "../../src/broker/broker.ts";
import { serializePolicy } from "../../src/broker/policy/policy-build.ts";
import { parsePolicy } from "../../src/broker/policy/policy-file.ts";
import { dropPrivileges } from "../../src/ffi/process-credentials.ts";
import { closeStandardStreams } from "../../src/ffi/standard-streams.ts";

/** What the process is started with. */
export interface BrokerProcessOptions {
  readonly path: string;
  /** TOML text with numbers for users and groups; undefined for none. */
  readonly policy?: string | undefined;
  /** What a reload finds in the place of `policy`; undefined: nothing can be reloaded. */
  readonly nextPolicy?: string | undefined;
  /** Who to become before the socket is bound; undefined to stay. */
  readonly uid?: number | undefined;
  /** See BrokerOptions; false: as with a kernel before 6.16. */
  readonly keepFdsOut?: boolean | undefined;
  /** See BrokerOptions. */
  readonly fdTtlMs?: number | undefined;
  /** How much faster the broker's clock runs than the wall's. Default 1. */
  readonly clockSpeed?: number | undefined;
}

function report(event: unknown): void {
  process.stderr.write(`${JSON.stringify(event)}\n`);
}

const options: BrokerProcessOptions = JSON.parse(process.argv[2] ?? "");
const { path, uid, keepFdsOut, fdTtlMs, clockSpeed = 1 } = options;
if (uid !== undefined) dropPrivileges({ uid, gid: uid, groups: [] });
const nobody = { findUser: () => undefined, findGroup: () => undefined };
const parse = (text: string) => parsePolicy(text, "policy.toml", nobody);
const policy = options.policy === undefined ? undefined : parse(options.policy);
const { nextPolicy } = options;
const readPolicy =
  nextPolicy === undefined ? undefined : async () => serializePolicy(parse(nextPolicy));

let broker: Broker | undefined;
// First of all: whoever sees the "listening" event may stop the broker at once.
process.on("SIGTERM", () => broker?.stop());

// The test holds the other end: without it nobody would end this process.
process.stdin.on("end", () => process.exit(1));
process.stdin.on("data", (lines) => process.stderr.write(lines));

try {
  const now = () => performance.now() * clockSpeed;
  broker = new Broker({ path, policy, readPolicy, keepFdsOut, fdTtlMs, now, onEvent: report });
  await broker.run();
  // Else the test would wait for the end of our events as long as a close hangs.
  if (broker.closesPending > 0) closeStandardStreams();
} catch (error) {
  const { name, code, message } = error as Error & { code?: string };
  report({ type: "failed", name, code, message });
  process.exitCode = 1;
}
// Standard input is still open, and would keep the process.
process.exit();
