/**
 * Clients of another user that misbehave, all in one process: they connect, say nothing, or garbage,
 * or half of what they should; subscribe and never read; leave in the middle; and come again. SIGUSR1
 * ends it, with a report.
 */

import { randomFillSync } from "node:crypto";
import { SyscallError } from "../../src/errors.ts";
import { PacketReceiver } from "../../src/ffi/ancillary.ts";
import { EPOLLIN } from "../../src/ffi/constants.ts";
import { Epoll } from "../../src/ffi/epoll.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { dropPrivileges } from "../../src/ffi/process-credentials.ts";
import { raiseOpenFilesLimit } from "../../src/ffi/resource-limits.ts";
import { connectPath, openSeqpacket, sendPacket } from "../../src/ffi/seqpacket.ts";
import { PEER_CLOSED } from "../../src/ffi/syscall-result.ts";
import { helloBody, subscribeBody } from "../../src/protocol/control-messages.ts";
import { kindWord } from "../../src/protocol/frame.ts";
import {
  FRAME_HEADER_BYTES,
  PACKET_BYTES_MAX,
  PROTOCOL_VERSION,
} from "../../src/protocol/limits.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { PacketWriter } from "../../src/protocol/packet.ts";
import { readWorkOrder, report } from "../work-order.ts";
import { BENCH_PATTERN } from "./topic-names.ts";

/** Nobody's uid here. */
const RABBLE_UID = 65_533;

/** Clients that do their next misdeed before the process looks at what came back. */
const CLIENTS_A_ROUND = 8;

const GARBAGE_BYTES = 256;

/** What a client sends when it has connected. It never reads what comes back but to see the end. */
const MISDEEDS: readonly (readonly PinnedBuffer[])[] = [
  [],
  [garbage()],
  [hello()],
  [hello(), garbage()],
  [hello(), subscription()],
  [hello(), unknownTopic()],
  [packet((writer) => writer.append(OPCODE.SENDER, 0, 0, 1, 0, undefined))],
];

const order = readWorkOrder();
const { clients = 0 } = order.siege ?? {};
raiseOpenFilesLimit();
dropPrivileges({ uid: RABBLE_UID, gid: RABBLE_UID, groups: [] });
const epoll = new Epoll();
const receiver = new PacketReceiver(new PinnedBuffer(PACKET_BYTES_MAX));
/** The fd of each client; -1 while it has none. */
const fds = new Int32Array(clients).fill(-1);
let attempts = 0;
let isReady = false;
let isOver = false;
process.on("SIGUSR1", () => {
  isOver = true;
});

for (let next = 0; !isOver; next = (next + CLIENTS_A_ROUND) % clients) {
  for (let client = next; client < Math.min(next + CLIENTS_A_ROUND, clients); client += 1) {
    misbehave(client);
  }
  const count = epoll.wait(0);
  for (let index = 0; index < count; index += 1) look(epoll.token(index));
  if (!isReady && next + CLIENTS_A_ROUND >= clients) {
    report({ type: "ready" });
    isReady = true;
  }
  // All come at once; only what follows has a pace.
  if (isReady && order.paceMs > 0) await Bun.sleep(order.paceMs);
  else await new Promise((resolve) => setImmediate(resolve));
}
report({ type: "besieged", attempts });

/** Leaves, if it is there, and comes again. */
function misbehave(client: number): void {
  leave(client);
  const fd = openSeqpacket();
  try {
    connectPath(fd, order.path);
    attempts += 1;
    fds[client] = fd;
    for (const each of MISDEEDS[client % MISDEEDS.length] ?? []) {
      sendPacket(fd, each, 0, each.byteLength);
    }
    epoll.add(fd, EPOLLIN, client);
  } catch (error) {
    // The backlog is full: it tries again when its turn comes.
    if (!(error instanceof SyscallError) || error.code !== "EAGAIN") throw error;
    closeFd(fd);
    fds[client] = -1;
  }
}

/** One that was thrown out leaves, and comes again when its turn comes. */
function look(client: number): void {
  const fd = fds[client] ?? -1;
  if (fd < 0) return;
  if (receiver.receive(fd) === PEER_CLOSED) leave(client);
}

function leave(client: number): void {
  const fd = fds[client] ?? -1;
  if (fd >= 0) closeFd(fd);
  fds[client] = -1;
}

function packet(append: (writer: PacketWriter) => void): PinnedBuffer {
  const scratch = new PacketWriter(new ArrayBuffer(PACKET_BYTES_MAX));
  append(scratch);
  const buffer = new PinnedBuffer(scratch.packetBytes);
  buffer.bytes.set(scratch.bytes.subarray(0, scratch.packetBytes));
  return buffer;
}

function hello(): PinnedBuffer {
  const body = helloBody({ protocol: PROTOCOL_VERSION, features: 0 });
  return packet((writer) => writer.appendControl(OPCODE.HELLO, 0, 0, body));
}

function subscription(): PinnedBuffer {
  const body = subscribeBody({ pattern: BENCH_PATTERN });
  return packet((writer) => writer.appendControl(OPCODE.SUBSCRIBE, 0, 1, body));
}

function unknownTopic(): PinnedBuffer {
  return packet((writer) => writer.append(OPCODE.MESSAGE, 0, 0, 12_345, 0, undefined));
}

function garbage(): PinnedBuffer {
  const buffer = new PinnedBuffer(GARBAGE_BYTES);
  randomFillSync(buffer.bytes);
  buffer.words.set([FRAME_HEADER_BYTES, kindWord(0x7f, 0, 0)]);
  return buffer;
}
