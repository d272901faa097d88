/**
 * Listens like a broker and prints the identity of the first who connects, as JSON lines: "ready",
 * then the identity as it is by default, then as it is with allowUnmapped.
 */

import { readPeerIdentity } from "../../src/broker/identity/identity.ts";
import { waitReadable } from "../../src/ffi/blocking-poll.ts";
import { acceptConnection, bindPath, listen, openSeqpacket } from "../../src/ffi/seqpacket.ts";

const [path = ""] = process.argv.slice(2);

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

const listener = openSeqpacket();
process.umask(0);
bindPath(listener, path);
listen(listener, 1);
print("ready");
waitReadable(listener, -1);
const socket = acceptConnection(listener);
print([readPeerIdentity(socket), readPeerIdentity(socket, { allowUnmapped: true })]);
