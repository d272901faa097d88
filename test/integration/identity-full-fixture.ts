/**
 * Takes all fds that it may have, and tries to identify a peer with 0, 1 and 2 of them free again.
 * Prints a list of the three outcomes: "found" or the code of the error.
 */

import { readPeerIdentity } from "../../src/broker/identity/identity.ts";
import { SyscallError } from "../../src/errors.ts";
import { closeFd, duplicateFd } from "../../src/ffi/owned-fd.ts";
import { openSeqpacketPair } from "../../src/ffi/seqpacket.ts";

const [socket] = openSeqpacketPair();

function codeOf(call: () => unknown): string {
  try {
    call();
    return "found";
  } catch (error) {
    return error instanceof SyscallError ? error.code : String(error);
  }
}

/** Duplicates until there is no number left. */
function takeAllFds(): number[] {
  const taken: number[] = [];
  while (codeOf(() => taken.push(duplicateFd(socket))) === "found");
  return taken;
}

// The first call loads what is loaded late, and reads the overflow ids.
readPeerIdentity(socket);
const taken = takeAllFds();
const outcomes: string[] = [];
for (let free = 0; free <= 2; free += 1) {
  outcomes.push(codeOf(() => readPeerIdentity(socket)));
  closeFd(taken.pop() as number);
}
for (const fd of taken) closeFd(fd);
process.stdout.write(JSON.stringify(outcomes));
