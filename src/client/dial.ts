/**
 * One attempt to reach a broker: connects, checks who the broker is, and says hello. WELCOME brings
 * the fd lane along, so it is fetched with recvmsg(2) before Bun's event loop gets the socket; until
 * then the socket is looked at once a turn, without blocking the loop.
 */

import { statSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  ClosedError,
  type LimitError,
  ProtocolError,
  RejectedError,
  SyscallError,
  TimeoutError,
} from "../errors.ts";
import { PacketReceiver } from "../ffi/ancillary.ts";
import { FdGuard } from "../ffi/owned-fd.ts";
import { getPeerCredentials } from "../ffi/peer-credentials.ts";
import { PinnedBuffer } from "../ffi/pinned-buffer.ts";
import { connectPath, openSeqpacket, sendPacket } from "../ffi/seqpacket.ts";
import { PEER_CLOSED, WOULD_BLOCK } from "../ffi/syscall-result.ts";
import {
  decodeErrorBody,
  decodeWelcome,
  helloBody,
  type Welcome,
} from "../protocol/control-messages.ts";
import { opcodeOf } from "../protocol/frame.ts";
import { FRAME_HEADER_BYTES, PACKET_BYTES_MAX, PROTOCOL_VERSION } from "../protocol/limits.ts";
import { FEATURE_FD_LANE, FEATURE_HELD, FEATURE_PAUSE, OPCODE } from "../protocol/opcodes.ts";
import { PacketReader, PacketWriter } from "../protocol/packet.ts";
import { SOFTWARE } from "../version.ts";
import { fdShortage } from "./fd-shortage.ts";
import { HANDSHAKE_EAGER_POLLS, HANDSHAKE_POLL_MS } from "./limits.ts";
import type { Sender } from "./message.ts";
import type { TransportEvents } from "./packet-socket.ts";
import { SeqpacketTransport, type Transport } from "./transport.ts";
import { errorFromWire } from "./wire-error.ts";

/** Who this client is, as the broker sees it. */
export type Self = Pick<Sender, "connection" | "uid" | "gid" | "pid">;

/** A connection that the broker has welcomed. */
export interface Connection {
  readonly self: Self;
  /** Sum of the feature bits in force. */
  readonly features: number;
  readonly transport: Transport;
}

/** What an attempt has to know. */
export interface DialOptions {
  /** The broker's socket. */
  readonly path: string;
  /** Milliseconds until the attempt is given up. */
  readonly timeoutMs: number;
  /** Aborting gives it up. */
  readonly signal?: AbortSignal | undefined;
  /** See ConnectOptions. */
  readonly brokerUid?: number | undefined;
}

/**
 * Connects once. Throws as connect() does; nothing stays open then.
 * @param events told of the connection from now on
 */
export async function dial(options: DialOptions, events: TransportEvents): Promise<Connection> {
  const { path, signal } = options;
  signal?.throwIfAborted();
  const patience = new Patience(options);
  using socket = new FdGuard(await openSocket(path, patience));
  checkBroker(socket.number, path, options.brokerUid);
  const { welcome, laneFd } = await shakeHands(socket.number, path, patience);
  using lane = new FdGuard(laneFd);
  const { connection, uid, gid, pid, features } = welcome;
  const self = Object.freeze({ connection, uid, gid, pid });
  const transport = await SeqpacketTransport.open(socket.take(), lane.take(), events);
  return { self, features, transport };
}

/** How long a client goes on trying, and how it waits. */
class Patience {
  readonly #path: string;
  readonly #timeoutMs: number;
  readonly #signal: AbortSignal | undefined;
  readonly #startedAt = performance.now();
  #polls = 0;

  constructor({ path, timeoutMs, signal }: DialOptions) {
    this.#path = path;
    this.#timeoutMs = timeoutMs;
    this.#signal = signal;
  }

  /**
   * Lets the event loop go round: eagerly at first, then with a pause.
   * @throws {TimeoutError} TIMEOUT_CONNECT; the signal's reason where it was aborted
   */
  async wait(): Promise<void> {
    this.#signal?.throwIfAborted();
    const elapsed = performance.now() - this.#startedAt;
    if (elapsed >= this.#timeoutMs) {
      const message = `Cannot connect to ${this.#path}: no answer within ${this.#timeoutMs} ms`;
      throw new TimeoutError("TIMEOUT_CONNECT", message, Math.round(elapsed));
    }
    this.#polls += 1;
    if (this.#polls > HANDSHAKE_EAGER_POLLS) await sleep(HANDSHAKE_POLL_MS);
    else await new Promise((resolve) => setImmediate(resolve));
  }
}

/** @returns a connected fd, owned by the caller */
async function openSocket(path: string, patience: Patience): Promise<number> {
  using socket = new FdGuard(openSeqpacket());
  for (;;) {
    try {
      connectPath(socket.number, path);
      return socket.take().release();
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      // The broker's backlog is full: it is there, and busy.
      if (error.code !== "EAGAIN") throw explainConnect(error, path);
    }
    await patience.wait();
  }
}

function explainConnect(error: SyscallError, path: string): SyscallError {
  const { code, errno, syscall } = error;
  const message = `Cannot connect to ${path}: ${code}${hintFor(code, path)}`;
  return new SyscallError(message, { code, errno, syscall, path }, { cause: error });
}

function hintFor(code: string, path: string): string {
  if (code === "ENOENT" || code === "ECONNREFUSED") {
    return `; no broker listens there. Start one: seqbus broker --socket ${path}`;
  }
  if (code !== "EACCES") return "";
  return `; the socket, or a directory on its path, does not let uid ${process.geteuid?.()} in`;
}

/** A socket that a stranger put there must not play the bus. */
function checkBroker(fd: number, path: string, wantedUid: number | undefined): void {
  const { uid } = getPeerCredentials(fd);
  const trusted =
    wantedUid === undefined
      ? [0, process.geteuid?.() ?? 0, statSync(dirname(path)).uid]
      : [wantedUid];
  if (trusted.includes(uid)) return;
  throw new RejectedError(
    "REJECTED_BROKER",
    `Cannot trust the broker at ${path}: it runs as uid ${uid}, trusted are ${trusted.join(", ")}`,
    { status: 0 },
  );
}

async function shakeHands(
  fd: number,
  path: string,
  patience: Patience,
): Promise<{ welcome: Welcome; laneFd: number }> {
  const buffer = new PinnedBuffer(PACKET_BYTES_MAX);
  const writer = new PacketWriter(buffer.bytes.buffer);
  const features = FEATURE_FD_LANE | FEATURE_HELD | FEATURE_PAUSE;
  const hello = { protocol: PROTOCOL_VERSION, features, software: SOFTWARE };
  writer.appendControl(OPCODE.HELLO, 0, 0, helloBody(hello));
  // A broker that refused us at once has sent its reason already, so a failure here is not the end.
  sendPacket(fd, buffer, 0, writer.packetBytes);
  const receiver = new PacketReceiver(buffer);
  for (;;) {
    const bytes = receiver.receive(fd);
    if (bytes > 0) return readWelcome(receiver, bytes);
    if (bytes === PEER_CLOSED) {
      throw new ClosedError("CLOSED_BY_PEER", `The broker at ${path} hung up without a word`);
    }
    if (bytes !== WOULD_BLOCK) {
      throw new ProtocolError("PROTOCOL_PACKET_SIZE", "Cannot read WELCOME: packet is too large");
    }
    await patience.wait();
  }
}

function readWelcome(
  receiver: PacketReceiver,
  packetBytes: number,
): { welcome: Welcome; laneFd: number } {
  const { bytes, words } = receiver.buffer;
  try {
    if (receiver.controlTruncated) throw laneLost();
    const fdCount = receiver.receivedFdCount;
    new PacketReader().read(words, bytes, packetBytes, fdCount, "broker");
    const opcode = opcodeOf(words[1] as number);
    const end = words[0] as number;
    if (opcode === OPCODE.ERROR) {
      throw errorFromWire(decodeErrorBody(bytes, FRAME_HEADER_BYTES, end));
    }
    if (opcode !== OPCODE.WELCOME) {
      throw new ProtocolError("PROTOCOL_STATE", "Cannot connect: the broker sent no WELCOME");
    }
    const welcome = decodeWelcome(bytes, FRAME_HEADER_BYTES, end);
    checkVersion(welcome.protocol);
    if (fdCount !== 1) {
      throw new ProtocolError("PROTOCOL_STATE", "Cannot connect: the broker's WELCOME has no lane");
    }
    const [laneFd] = receiver.takeFds();
    return { welcome, laneFd: laneFd as number };
  } finally {
    receiver.closeFds();
  }
}

function checkVersion(protocol: number): void {
  if (protocol === PROTOCOL_VERSION) return;
  const message = `Cannot connect: the broker speaks protocol ${protocol}, this client`;
  throw new ProtocolError("PROTOCOL_VERSION", `${message} ${PROTOCOL_VERSION}`);
}

function laneLost(): LimitError {
  const message =
    "Cannot connect: the fd lane was lost, since this process may hold no more file descriptors";
  return fdShortage(message, 1);
}
