/**
 * A client that speaks the bare protocol and blocks: it shows what the relay can do, not what the
 * library can. The floor relay gets a short word in place of the protocol's handshake.
 */

import { PacketReceiver, sendPacketWithFds } from "../src/ffi/ancillary.ts";
import { waitReadable } from "../src/ffi/blocking-poll.ts";
import { EPOLLIN, EPOLLOUT } from "../src/ffi/constants.ts";
import { Epoll } from "../src/ffi/epoll.ts";
import { closeFd } from "../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../src/ffi/pinned-buffer.ts";
import { openSeqpacket, sendPacket } from "../src/ffi/seqpacket.ts";
import { setSendBufferBytes } from "../src/ffi/socket-options.ts";
import { WOULD_BLOCK } from "../src/ffi/syscall-result.ts";
import type { ControlMap } from "../src/protocol/control-body.ts";
import {
  decodeErrorBody,
  decodeOpenTopicAck,
  helloBody,
  openTopicBody,
  subscribeBody,
} from "../src/protocol/control-messages.ts";
import { opcodeOf } from "../src/protocol/frame.ts";
import { FRAME_HEADER_BYTES, PACKET_BYTES_MAX, PROTOCOL_VERSION } from "../src/protocol/limits.ts";
import { OPCODE } from "../src/protocol/opcodes.ts";
import { PacketWriter } from "../src/protocol/packet.ts";
import {
  decodeOpenServiceAck,
  openServiceBody,
  serveBody,
} from "../src/protocol/service-messages.ts";
import { connectPatiently } from "./patient-connect.ts";
import type { RelayKind } from "./work-order.ts";

/** What a client of the floor relay says first: a record with one of these bits or both. */
export const FLOOR_ROLE = { SENDS: 1, RECEIVES: 2 } as const;

/** Bytes of that record; the relay answers with the same. */
export const FLOOR_ROLE_BYTES = 8;

/** As the broker's own sockets, so that both directions hold as much. */
const SEND_BUFFER_BYTES = 1024 * 1024;

const NO_FDS: readonly number[] = [];

/** What a raw client wants to do. */
export interface RawIntent {
  /** Topics to publish on. */
  readonly publish: readonly string[];
  /** Pattern to subscribe to; undefined for none. */
  readonly subscribe: string | undefined;
}

/** A connected raw client. */
export class RawSession {
  /** Where receive() leaves a packet. */
  readonly buffer = new PinnedBuffer(PACKET_BYTES_MAX);
  /** Ids of the topics to publish on, in their order. */
  readonly topicIds: number[] = [];
  readonly #fd = openSeqpacket();
  readonly #receiver = new PacketReceiver(this.buffer);
  readonly #request = new PinnedBuffer(PACKET_BYTES_MAX);
  readonly #writer = new PacketWriter(this.#request.bytes.buffer);
  readonly #writable = new Epoll(1);

  /** Connects, blocking, and makes ready what the intent names. */
  constructor(path: string, relay: RelayKind, intent: RawIntent) {
    connectPatiently(this.#fd, path);
    setSendBufferBytes(this.#fd, SEND_BUFFER_BYTES);
    this.#writable.add(this.#fd, EPOLLOUT, 0);
    if (relay !== "broker") this.#enterFloor(intent);
    else this.#enterBus(intent);
  }

  /** Sends one packet; blocks while the socket is full. @param fds borrowed */
  send(buffer: PinnedBuffer, bytes: number, fds: readonly number[] = NO_FDS): void {
    for (;;) {
      const sent = this.sendNow(buffer, bytes, fds);
      if (sent === bytes) return;
      if (sent !== WOULD_BLOCK) throw new Error(`Cannot send: outcome ${sent}`);
      this.#writable.wait(-1);
    }
  }

  /** Sends one packet, if there is room. @param fds borrowed. Returns `bytes`, or an outcome below 0. */
  sendNow(buffer: PinnedBuffer, bytes: number, fds: readonly number[] = NO_FDS): number {
    return fds.length === 0
      ? sendPacket(this.#fd, buffer, 0, bytes)
      : sendPacketWithFds(this.#fd, buffer, 0, bytes, fds);
  }

  /** Receives one packet into `buffer`; blocks until there is one. Returns its bytes. */
  receive(): number {
    for (;;) {
      const bytes = this.#receiver.receive(this.#fd);
      if (bytes > 0) return bytes;
      if (bytes !== WOULD_BLOCK) throw new Error(`Cannot receive: outcome ${bytes}`);
      waitReadable(this.#fd, -1);
    }
  }

  /** Receives one packet into `buffer`, if there is one. Returns its bytes, or WOULD_BLOCK. */
  receiveNow(): number {
    const bytes = this.#receiver.receive(this.#fd);
    if (bytes > 0 || bytes === WOULD_BLOCK) return bytes;
    throw new Error(`Cannot receive: outcome ${bytes}`);
  }

  /** The same, where the other side may end. Returns its bytes, or an outcome below 0. */
  receiveIfAny(): number {
    return this.#receiver.receive(this.#fd);
  }

  /** The fds of the packet received last, which are the caller's. */
  takeFds(): number[] {
    return this.#receiver.takeFds();
  }

  /** Closes the fds of the packet received last, where nobody takes them. Returns how many. */
  closeFds(): number {
    return this.#receiver.closeFds();
  }

  /** Has packets reported by an epoll instance of the caller's. */
  watch(epoll: Epoll, token: number): void {
    epoll.add(this.#fd, EPOLLIN, token);
  }

  /** Sends a control frame that nothing answers, or whose answer the caller receives. */
  tell(opcode: number, id: number, body?: ControlMap): void {
    this.send(this.#request, this.#write(opcode, id, body));
  }

  /** The same, if there is room. Returns as sendNow(). */
  tellNow(opcode: number, id: number, body?: ControlMap): number {
    return this.sendNow(this.#request, this.#write(opcode, id, body));
  }

  #write(opcode: number, id: number, body?: ControlMap): number {
    this.#writer.reset();
    this.#writer.appendControl(opcode, 0, id, body);
    return this.#writer.packetBytes;
  }

  /**
   * Sends a request and waits for its answer, which must be the next frame to come.
   * @returns where the answer ends; it stands in `buffer` from offset 0
   * @throws {Error} where the relay refuses it
   */
  ask(opcode: number, id: number, body?: ControlMap): number {
    this.tell(opcode, id, body);
    this.receive();
    const end = this.buffer.words[0] as number;
    const answer = opcodeOf(this.buffer.words[1] as number);
    if (answer !== OPCODE.ERROR) return end;
    throw new Error(decodeErrorBody(this.buffer.bytes, FRAME_HEADER_BYTES, end).message);
  }

  /** Opens a topic. Returns its id. */
  openTopic(requestId: number, topic: string): number {
    const ackEnd = this.ask(OPCODE.OPEN_TOPIC, requestId, openTopicBody({ topic }));
    return decodeOpenTopicAck(this.buffer.bytes, FRAME_HEADER_BYTES, ackEnd).topic;
  }

  /** Asks to call a service. Returns its id. */
  openService(requestId: number, service: string): number {
    const ackEnd = this.ask(OPCODE.OPEN_SERVICE, requestId, openServiceBody({ service }));
    return decodeOpenServiceAck(this.buffer.bytes, FRAME_HEADER_BYTES, ackEnd).service;
  }

  /** Serves a service. */
  serve(requestId: number, service: string): void {
    this.ask(OPCODE.SERVE, requestId, serveBody({ service }));
  }

  /** Subscribes to a pattern. */
  subscribe(requestId: number, pattern: string): void {
    this.ask(OPCODE.SUBSCRIBE, requestId, subscribeBody({ pattern }));
  }

  close(): void {
    this.#writable.close();
    closeFd(this.#fd);
  }

  #enterFloor(intent: RawIntent): void {
    const sends = intent.publish.length > 0 ? FLOOR_ROLE.SENDS : 0;
    const receives = intent.subscribe === undefined ? 0 : FLOOR_ROLE.RECEIVES;
    this.#request.words[0] = sends | receives;
    this.send(this.#request, FLOOR_ROLE_BYTES);
    this.receive();
    this.topicIds.push(...intent.publish.keys());
  }

  #enterBus(intent: RawIntent): void {
    this.ask(OPCODE.HELLO, 0, helloBody({ protocol: PROTOCOL_VERSION, features: 0 }));
    for (const [index, topic] of intent.publish.entries()) {
      this.topicIds.push(this.openTopic(index + 1, topic));
    }
    if (intent.subscribe !== undefined) this.subscribe(1, intent.subscribe);
  }
}
