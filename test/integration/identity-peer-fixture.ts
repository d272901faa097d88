/**
 * Connects to a socket as somebody, does what it is told, and prints who it is as one line of JSON.
 * One argument, PeerPlan as JSON. Without a path it was started by another one of its kind, which
 * handed its socket on as fd 3.
 */

import { waitReadable } from "../../src/ffi/blocking-poll.ts";
import { libc } from "../../src/ffi/libc.ts";
import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { dropPrivileges } from "../../src/ffi/process-credentials.ts";
import { connectPath, openSeqpacket, sendPacket } from "../../src/ffi/seqpacket.ts";
import type { PeerPlan } from "./identity-peer.ts";

const HANDED_ON_FD = 3;

const plan: PeerPlan = JSON.parse(process.argv[2] ?? "{}");
const packet = new PinnedBuffer(8);

async function handOn(socket: number): Promise<number> {
  const child = Bun.spawn([process.execPath, import.meta.path, JSON.stringify({ packets: 1 })], {
    stdio: ["ignore", "ignore", "inherit", socket],
  });
  await child.exited;
  return child.pid;
}

function sendPackets(socket: number): void {
  for (let sent = 0; sent < (plan.packets ?? 0); sent += 1) sendPacket(socket, packet, 0, 8);
}

function connect(path: string): number {
  const socket = openSeqpacket();
  if (plan.become !== undefined) dropPrivileges(plan.become);
  if (plan.effectiveUid !== undefined) libc.setresuid(0, plan.effectiveUid, 0);
  connectPath(socket, path);
  if (plan.becomeLater !== undefined) dropPrivileges(plan.becomeLater);
  return socket;
}

if (plan.path === undefined) sendPackets(HANDED_ON_FD);
else {
  const socket = connect(plan.path);
  sendPackets(socket);
  const childPid = plan.handOn === true ? await handOn(socket) : undefined;
  process.stdout.write(`${JSON.stringify({ pid: process.pid, childPid })}\n`);
  if (plan.exit !== true) waitReadable(socket, -1);
}
