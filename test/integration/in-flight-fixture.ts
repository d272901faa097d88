/**
 * Puts many fds into a socket that nobody reads, as the uid that is its argument: they count against
 * everything that runs as this uid. Writes "ready", and keeps them until its standard input ends.
 */

import { sendPacketWithFds } from "../../src/ffi/ancillary.ts";
import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { dropPrivileges } from "../../src/ffi/process-credentials.ts";
import { openSeqpacketPair } from "../../src/ffi/seqpacket.ts";
import { outcomeName } from "../../src/ffi/syscall-result.ts";

const FDS = 253;

const uid = Number(process.argv[2]);
dropPrivileges({ uid, gid: uid, groups: [] });
const [from] = openSeqpacketPair();
const sent = sendPacketWithFds(from, new PinnedBuffer(1), 0, 1, new Array<number>(FDS).fill(1));
process.stdout.write(sent === 1 ? "ready" : outcomeName(sent));
process.stdin.on("end", () => process.exit()).resume();
