/**
 * Lowers RLIMIT_NOFILE of its own process and shows what then happens. Argument: receive, send,
 * accept or raise. Prints one JSON object.
 */

import type { Pointer } from "bun:ffi";
import { readFileSync } from "node:fs";
import { PacketReceiver, sendPacketWithFds } from "../../../src/ffi/ancillary.ts";
import { RLIMIT_NOFILE } from "../../../src/ffi/constants.ts";
import { libc } from "../../../src/ffi/libc.ts";
import { createMemfd } from "../../../src/ffi/memfd.ts";
import { closeFd } from "../../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../../src/ffi/pinned-buffer.ts";
import { dropPrivileges } from "../../../src/ffi/process-credentials.ts";
import { raiseOpenFilesLimit } from "../../../src/ffi/resource-limits.ts";
import * as seqpacket from "../../../src/ffi/seqpacket.ts";
import { outcomeName } from "../../../src/ffi/syscall-result.ts";
import { fdsOpenedSince, isOpenFd, openFds } from "./fd-table.ts";

const packet = new PinnedBuffer(8);
const receiver = new PacketReceiver(new PinnedBuffer(64));

function setSoftLimit(soft: number): void {
  const limit = new PinnedBuffer(16);
  libc.getrlimit(RLIMIT_NOFILE, limit.address as Pointer);
  limit.words[0] = soft;
  limit.words[1] = 0;
  libc.setrlimit(RLIMIT_NOFILE, limit.address as Pointer);
}

/** Sets the soft limit so that about so many more fds fit; there may be gaps between the open. */
function leaveRoomFor(count: number): void {
  let limit = 0;
  for (let free = 0; free < count; limit += 1) if (!isOpenFd(limit)) free += 1;
  setSoftLimit(limit);
}

function receiveWithRoomForThree(): object {
  const [near, far] = seqpacket.openSeqpacketPair();
  const fds = Array.from({ length: 10 }, () => createMemfd("many"));
  const before = openFds();
  sendPacketWithFds(near, packet, 0, 8, fds);
  leaveRoomFor(3);
  const bytes = receiver.receive(far);
  const { controlTruncated, receivedFdCount: received } = receiver;
  receiver.closeFds();
  raiseOpenFilesLimit();
  return { sent: 10, bytes, controlTruncated, received, leaked: fdsOpenedSince(before) };
}

function sendUntilRefused(): object {
  const [near, far] = seqpacket.openSeqpacketPair();
  const fds = Array.from({ length: 10 }, () => createMemfd("many"));
  // Root is not counted, and another uid's count could include those of other processes.
  if (process.getuid?.() === 0) dropPrivileges({ uid: 61_234, gid: 61_234, groups: [] });
  setSoftLimit(64);
  let outcome = 0;
  for (let sent = 0; sent < 100 && outcome >= 0; sent += 1) {
    outcome = sendPacketWithFds(near, packet, 0, 8, fds);
  }
  while (receiver.receive(far) > 0) receiver.closeFds();
  return {
    refused: outcomeName(outcome),
    afterReceiving: sendPacketWithFds(near, packet, 0, 8, fds),
  };
}

function acceptWithoutRoom(path: string): object {
  const listener = seqpacket.openSeqpacket();
  const client = seqpacket.openSeqpacket();
  seqpacket.bindPath(listener, path);
  seqpacket.listen(listener, 1);
  seqpacket.connectPath(client, path);
  setSoftLimit(1);
  const full = seqpacket.acceptConnection(listener);
  raiseOpenFilesLimit();
  const accepted = seqpacket.acceptConnection(listener);
  closeFd(accepted);
  return { full: outcomeName(full), afterRaising: outcomeName(accepted) };
}

function raiseLoweredLimit(): object {
  setSoftLimit(64);
  const raised = raiseOpenFilesLimit();
  const kernelsWord = readFileSync("/proc/self/limits", "utf8").match(/open files +(\d+) +(\d+)/);
  return {
    raised,
    again: raiseOpenFilesLimit(),
    kernel: { soft: Number(kernelsWord?.[1]), hard: Number(kernelsWord?.[2]) },
  };
}

const [scenario, path = ""] = process.argv.slice(2);
const scenarios: Record<string, () => object> = {
  receive: receiveWithRoomForThree,
  send: sendUntilRefused,
  accept: () => acceptWithoutRoom(path),
  raise: raiseLoweredLimit,
};
process.stdout.write(JSON.stringify(scenarios[scenario ?? ""]?.()));
