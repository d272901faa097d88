/**
 * A client that can say anything: it sends bytes and fds as told and takes the broker's packets
 * apart with PacketReader. For what the library would never send, and to see the wire as it is.
 */

import { PacketReceiver, sendPacketWithFds } from "../../src/ffi/ancillary.ts";
import { closeFd, OwnedFd } from "../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { connectPath, openSeqpacket, sendPacket } from "../../src/ffi/seqpacket.ts";
import { outcomeName, PEER_CLOSED, WOULD_BLOCK } from "../../src/ffi/syscall-result.ts";
import { type ControlMap, decodeControlBody } from "../../src/protocol/control-body.ts";
import { detailOf, fdCountOf, flagsOf, opcodeOf } from "../../src/protocol/frame.ts";
import {
  BODY_PREFIX_BYTES,
  FRAME_HEADER_BYTES,
  PACKET_BYTES_MAX,
} from "../../src/protocol/limits.ts";
import {
  carriesBody,
  FEATURE_FD_LANE,
  FLAG_FDS_ON_LANE,
  OPCODE,
} from "../../src/protocol/opcodes.ts";
import { PacketReader, PacketWriter } from "../../src/protocol/packet.ts";
import { eventually } from "./eventually.ts";

/** One frame from the broker. */
export interface RawFrame {
  readonly opcode: number;
  readonly flags: number;
  readonly fdCount: number;
  readonly detail: number;
  readonly id: number;
  readonly origin: number;
  readonly body: Uint8Array;
  /** In-band or from the lane; the test's to close. */
  readonly fds: readonly number[];
}

/** Choices for RawClient.open(). */
export interface RawClientOptions {
  /** Ask for the fd lane. Default: fds come in-band. */
  readonly lane?: boolean;
}

/** Several frames for one packet: called with a fresh writer. */
export type PacketBuilder = (writer: PacketWriter) => void;

/** What an error tells of those that nobody looked at. */
const LAST_FRAMES = 3;

/** A connected SEQPACKET socket. */
export class RawClient implements Disposable {
  /** Of the broker's socket. */
  readonly path: string;
  readonly socket: OwnedFd;
  /** The client's end of the fd lane, once WELCOME brought it. */
  lane: OwnedFd | undefined;
  /** From WELCOME. */
  connection = 0;
  readonly #buffer = new PinnedBuffer(PACKET_BYTES_MAX + 8);
  readonly #receiver = new PacketReceiver(new PinnedBuffer(PACKET_BYTES_MAX));
  readonly #laneReceiver = new PacketReceiver(new PinnedBuffer(16));
  readonly #reader = new PacketReader();
  readonly #frames: RawFrame[] = [];
  #requests = 0;
  #laneRecords = 0;
  #isEnded = false;

  private constructor(path: string, socket: OwnedFd) {
    this.path = path;
    this.socket = socket;
  }

  /** Connects and says nothing. */
  static connect(path: string): RawClient {
    const socket = OwnedFd.adopt(openSeqpacket());
    connectPath(socket.number, path);
    return new RawClient(path, socket);
  }

  /** Connects and says hello. */
  static async open(path: string, options: RawClientOptions = {}): Promise<RawClient> {
    const client = RawClient.connect(path);
    await client.greet(options.lane === true);
    return client;
  }

  /** Says hello, asking for the fd lane or not, and waits to be welcomed. */
  async greet(lane = false): Promise<void> {
    this.sendControl(OPCODE.HELLO, 0, { protocol: 1, features: lane ? FEATURE_FD_LANE : 0 });
    const welcome = await this.next();
    if (welcome.opcode !== OPCODE.WELCOME) throw new Error(`Not welcome: ${describe(welcome)}`);
    this.connection = Number(mapOf(welcome)["connection"]);
    const [fd] = welcome.fds;
    if (fd !== undefined) this.lane = OwnedFd.adopt(fd);
  }

  /**
   * Sends one packet; the socket must have room.
   * @param fds borrowed
   */
  send(packet: Uint8Array, fds: readonly number[] = []): void {
    const sent = this.trySend(packet, fds);
    if (sent !== packet.byteLength) throw new Error(`Cannot send: ${outcomeName(sent)}`);
  }

  /** Sends one packet if the socket has room. @returns outcome of sendPacket() */
  trySend(packet: Uint8Array, fds: readonly number[] = []): number {
    const { buffer, bytes } = this.#place(packet);
    const fd = this.socket.number;
    if (fds.length > 0) return sendPacketWithFds(fd, buffer, 0, bytes, fds);
    return sendPacket(fd, buffer, 0, bytes);
  }

  /** Sends one packet as soon as the socket has room for it. */
  async sendEventually(packet: Uint8Array, fds: readonly number[] = []): Promise<void> {
    const sent = await eventually(() => {
      const outcome = this.trySend(packet, fds);
      return outcome === WOULD_BLOCK ? undefined : outcome;
    }, "the broker read what was sent");
    if (sent !== packet.byteLength) throw new Error(`Cannot send: ${outcomeName(sent)}`);
  }

  /** Sends one control frame alone in its packet. */
  sendControl(opcode: number, id: number, body?: ControlMap): void {
    this.send(packetOf((writer) => writer.appendControl(opcode, 0, id, body)));
  }

  /** Sends one message alone in its packet. */
  sendMessage(topicId: number, body: Uint8Array | string, fds: readonly number[] = []): void {
    this.send(messagePacket(topicId, body, fds.length), fds);
  }

  /**
   * Sends a request and waits for its answer; frames before it stay to be read.
   * @returns the body of the ACK
   * @throws {Error} where an ERROR comes, with its body
   */
  async request(opcode: number, body?: ControlMap): Promise<ControlMap> {
    const answer = await this.requestFrame(opcode, body);
    if (answer.opcode === OPCODE.ACK) return answer.body.length === 0 ? {} : mapOf(answer);
    throw new Error(describe(answer));
  }

  /** As request(), but an ERROR is returned like any other answer. */
  async requestFrame(opcode: number, body?: ControlMap): Promise<RawFrame> {
    return await this.answerTo(await this.ask(opcode, 0, body));
  }

  /** Sends a request. @returns its number, for answerTo() */
  async ask(opcode: number, flags = 0, body?: ControlMap): Promise<number> {
    this.#requests += 1;
    const id = this.#requests;
    await this.sendEventually(packetOf((writer) => writer.appendControl(opcode, flags, id, body)));
    return id;
  }

  /** The answer to a request, an ACK or an ERROR; frames before it stay to be read. */
  async answerTo(id: number): Promise<RawFrame> {
    const isAnswer = (frame: RawFrame) =>
      (frame.opcode === OPCODE.ACK || frame.opcode === OPCODE.ERROR) && frame.id === id;
    return await eventually(() => {
      this.#receiveAll();
      const index = this.#frames.findIndex(isAnswer);
      if (index >= 0) return this.#frames.splice(index, 1)[0];
      if (this.#isEnded)
        throw new Error(`Connection ended: ${this.#frames.slice(-LAST_FRAMES).map(describe)}`);
      return undefined;
    }, `request ${id} was answered`);
  }

  /** Opens a topic for publishing. @returns its id */
  async openTopic(topic: string): Promise<number> {
    return Number((await this.request(OPCODE.OPEN_TOPIC, { topic }))["topic"]);
  }

  /** Subscribes. @returns the number of the subscription */
  async subscribe(pattern: string): Promise<number> {
    return Number((await this.request(OPCODE.SUBSCRIBE, { pattern }))["subscription"]);
  }

  /** Opens a service for calling. @returns its id */
  async openService(service: string): Promise<number> {
    return Number((await this.request(OPCODE.OPEN_SERVICE, { service }))["service"]);
  }

  /** Serves. @returns the id of the service */
  async serve(service: string, options: ControlMap = {}): Promise<number> {
    return Number((await this.request(OPCODE.SERVE, { service, ...options }))["service"]);
  }

  /** Sends one request alone in its packet. */
  sendRequest(serviceId: number, call: number, body: Uint8Array | string, flags = 0): void {
    this.send(packetOf((writer) => appendRequest(writer, { serviceId, call, body, flags })));
  }

  /** Sends one reply alone in its packet. */
  sendReply(request: number, body: Uint8Array | string, flags = 0): void {
    const bytes = bytesOf(body);
    this.send(packetOf((writer) => writer.append(OPCODE.REPLY, flags, 0, request, 0, bytes)));
  }

  /** Waits until the broker has routed all that was sent. @returns the figures */
  async sync(): Promise<ControlMap> {
    return await this.request(OPCODE.SYNC);
  }

  /** The next frame. @throws {Error} at the end of the connection */
  async next(): Promise<RawFrame> {
    return await eventually(() => {
      if (this.#frames.length === 0) this.#receiveOne();
      const frame = this.#frames.shift();
      if (frame === undefined && this.#isEnded) throw new Error("The connection has ended");
      return frame;
    }, "a frame came");
  }

  /** The next frame of one kind; others before it are dropped and their fds closed. */
  async nextOf(opcode: number): Promise<RawFrame> {
    for (;;) {
      const frame = await this.next();
      if (frame.opcode === opcode) return frame;
      for (const fd of frame.fds) closeFd(fd);
    }
  }

  /** The bodies of the next `count` messages as text; other frames are dropped. */
  async nextTexts(count: number): Promise<string[]> {
    const texts: string[] = [];
    while (texts.length < count) texts.push(textOf(await this.nextOf(OPCODE.MESSAGE)));
    return texts;
  }

  /** What is there now, without waiting. */
  received(): RawFrame[] {
    this.#receiveAll();
    return this.#frames.splice(0);
  }

  /** Everything up to the end of the connection, which must come. */
  async untilEnd(): Promise<RawFrame[]> {
    await eventually(() => {
      this.#receiveAll();
      return this.#isEnded;
    }, "the connection ended");
    return this.#frames.splice(0);
  }

  /** Closes the socket; fds that nobody looked at are closed too. */
  [Symbol.dispose](): void {
    for (const frame of this.#frames.splice(0)) for (const fd of frame.fds) closeFd(fd);
    this.socket.close();
    this.lane?.close();
  }

  #place(packet: Uint8Array): { buffer: PinnedBuffer; bytes: number } {
    const bytes = packet.byteLength;
    const buffer = bytes <= this.#buffer.byteLength ? this.#buffer : new PinnedBuffer(bytes);
    buffer.bytes.set(packet);
    return { buffer, bytes };
  }

  #receiveAll(): void {
    while (this.#receiveOne()) {
      // One packet at a time.
    }
  }

  /** @returns whether a packet came */
  #receiveOne(): boolean {
    if (this.#isEnded) return false;
    const bytes = this.#receiver.receive(this.socket.number);
    if (bytes === WOULD_BLOCK) return false;
    if (bytes === PEER_CLOSED) {
      this.#isEnded = true;
      return false;
    }
    if (bytes < 0) throw new Error(`Cannot receive: ${outcomeName(bytes)}`);
    const buffer = this.#receiver.buffer;
    const count = this.#receiver.receivedFdCount;
    const frames = this.#reader.read(buffer.words, buffer.bytes, bytes, count, "broker");
    const inBand = this.#receiver.takeFds();
    for (let index = 0; index < frames; index += 1) {
      this.#frames.push(this.#frameAt(this.#reader.offsets[index] as number, inBand));
    }
    return true;
  }

  #frameAt(offset: number, inBand: readonly number[]): RawFrame {
    const { words, bytes } = this.#receiver.buffer;
    const word = offset >>> 2;
    const kind = words[word + 1] as number;
    const onLane = (flagsOf(kind) & FLAG_FDS_ON_LANE) !== 0;
    return {
      opcode: opcodeOf(kind),
      flags: flagsOf(kind),
      fdCount: fdCountOf(kind),
      detail: detailOf(kind),
      id: words[word + 2] as number,
      origin: words[word + 3] as number,
      body: bytes.slice(offset + FRAME_HEADER_BYTES, offset + (words[word] as number)),
      fds: onLane ? this.#takeLane(fdCountOf(kind)) : inBand,
    };
  }

  #takeLane(count: number): readonly number[] {
    if (this.lane === undefined || !this.lane.isOpen) throw new Error("There is no lane");
    const bytes = this.#laneReceiver.receive(this.lane.number);
    this.#laneRecords += 1;
    const [sequence, recordCount] = this.#laneReceiver.buffer.words;
    if (bytes !== 8 || sequence !== this.#laneRecords || recordCount !== count) {
      throw new Error(`Lane record ${sequence} of ${recordCount} fds does not fit ${count}`);
    }
    return this.#laneReceiver.takeFds();
  }
}

/** One packet as fresh bytes. */
export function packetOf(build: PacketBuilder): Uint8Array {
  const writer = new PacketWriter();
  build(writer);
  return writer.bytes.slice(0, writer.packetBytes);
}

/** One message as a packet. */
export function messagePacket(topicId: number, body: Uint8Array | string, fdCount = 0): Uint8Array {
  const bytes = bytesOf(body);
  return packetOf((writer) => writer.append(OPCODE.MESSAGE, 0, fdCount, topicId, 0, bytes));
}

/** A request to be sent. */
export interface RequestFields {
  readonly serviceId: number;
  readonly call: number;
  readonly body: Uint8Array | string;
  readonly flags?: number;
  readonly fdCount?: number;
  /** Default: for ever. */
  readonly timeoutMs?: number;
}

/** Appends a request with its prefix. */
export function appendRequest(writer: PacketWriter, fields: RequestFields): void {
  const { serviceId, call, body, flags = 0, fdCount = 0, timeoutMs = 0 } = fields;
  const bytes = bytesOf(body);
  const whole = new Uint8Array(BODY_PREFIX_BYTES + bytes.byteLength);
  new Uint32Array(whole.buffer, 0, 2).set([call, timeoutMs]);
  whole.set(bytes, BODY_PREFIX_BYTES);
  writer.append(OPCODE.REQUEST, flags, fdCount, serviceId, 0, whole);
}

/** What a REQUEST from the broker holds behind its header. */
export function requestOf({ body }: RawFrame): { call: number; timeoutMs: number; text: string } {
  const view = new DataView(body.buffer, body.byteOffset);
  const text = new TextDecoder().decode(body.subarray(BODY_PREFIX_BYTES));
  return { call: view.getUint32(0, true), timeoutMs: view.getUint32(4, true), text };
}

function bytesOf(body: Uint8Array | string): Uint8Array {
  return typeof body === "string" ? new TextEncoder().encode(body) : body;
}

/** The map of a control frame. */
export function mapOf(frame: RawFrame): ControlMap {
  return decodeControlBody(frame.body, 0, frame.body.byteLength);
}

/** The body of a message as text. */
export function textOf(frame: RawFrame): string {
  return new TextDecoder().decode(frame.body);
}

function describe(frame: RawFrame): string {
  const isMap = !carriesBody(frame.opcode) && frame.body.length > 0;
  const body = isMap ? JSON.stringify(mapOf(frame)) : `${frame.body.length} bytes`;
  return `opcode 0x${frame.opcode.toString(16)} id ${frame.id}: ${body}`;
}
