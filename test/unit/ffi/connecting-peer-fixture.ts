/**
 * Connects to a socket as somebody else, and stays until the other side closes.
 *
 * Arguments: path, when to drop privileges (before, after, never), uid, gid, groups as JSON. Ids are
 * left out with "never". Prints its pid as JSON.
 */

import { waitReadable } from "../../../src/ffi/blocking-poll.ts";
import { dropPrivileges } from "../../../src/ffi/process-credentials.ts";
import { connectPath, openSeqpacket } from "../../../src/ffi/seqpacket.ts";

const [path = "", when, uid, gid, groups = "[]"] = process.argv.slice(2);

function become(): void {
  dropPrivileges({ uid: Number(uid), gid: Number(gid), groups: JSON.parse(groups) });
}

const socket = openSeqpacket();
if (when === "before") become();
connectPath(socket, path);
if (when === "after") become();
waitReadable(socket, -1);
process.stdout.write(JSON.stringify(process.pid));
