/**
 * A received message. Its body stays in the packet it came in until somebody asks for it, so a
 * message that is only counted or forwarded costs one small object.
 */

import type { Encoding } from "../protocol/opcodes.ts";
import { decodeBody } from "./body-codec.ts";
import { type BodyMemory, type LargeBody, RELEASED_BODY } from "./large-body.ts";
import type { ReceivedFds } from "./received-fds.ts";

/** Who sent a message, as the kernel told the broker when that client connected. */
export interface Sender {
  /** The broker's number for the connection; never used again while the broker lives. */
  readonly connection: number;
  readonly uid: number;
  readonly gid: number;
  /** For people. Process ids are used again: grant nothing on one. */
  readonly pid: number;
  /** Supplementary groups, the first 256. */
  readonly groups: readonly number[];
  /** The systemd unit it runs in; undefined where the kernel could not say so without a race. */
  readonly unit: string | undefined;
  /** The path of its executable; undefined as for `unit`. */
  readonly exe: string | undefined;
}

/** Where a large message has no packet to look into. */
export const NO_PACKET: Uint8Array = new Uint8Array(0);

/**
 * Why fds are withheld: "policy", this client may not receive them; "kernel", it did not pass them
 * on; "expired", nobody took them in time; "unknown", a reason of a later broker.
 */
export type WithheldReason = "policy" | "kernel" | "expired" | "unknown";

/** By the detail of the frame; at 0 nothing is withheld. */
const WITHHELD_REASONS: readonly (WithheldReason | undefined)[] = [
  undefined,
  "policy",
  "kernel",
  "expired",
];

/**
 * A message with its topic and kernel-attested sender. With `using`, its files and the memory of a
 * large body are let go at the end of the block; otherwise the garbage collector does that.
 */
export class Message<Data = unknown> implements Disposable {
  /** Of a call or a reply the name of the service. */
  readonly topic: string;
  /** Who sent it, as the kernel says. */
  readonly sender: Sender;
  /** How the body is encoded: a value of ENCODING. */
  readonly encoding: Encoding;
  /**
   * The files that came with it: iterate over them, or ask for one with at(). Take what you want to
   * keep; the rest is closed when the next message is asked for, or when the callback has finished.
   */
  readonly fds: ReceivedFds;
  /** Why this client did not get the fds that the message carried; undefined where it got all. */
  readonly fdsWithheldReason: WithheldReason | undefined;
  /** True for the last value of its topic, which was published before this subscription began. */
  readonly retained: boolean;
  readonly #withheldDetail: number;
  #packet: Uint8Array;
  #start: number;
  #end: number;
  /** The body, where it is too large for a packet; 0 to #end are then its bounds. */
  #large: BodyMemory | undefined;

  /** Made by the library. */
  constructor(
    topic: string,
    sender: Sender,
    encoding: Encoding,
    packet: Uint8Array,
    start: number,
    end: number,
    fds: ReceivedFds,
    withheldDetail: number,
    large?: BodyMemory,
    retained = false,
  ) {
    this.topic = topic;
    this.sender = sender;
    this.encoding = encoding;
    this.#packet = packet;
    this.#start = start;
    this.#end = end;
    this.fds = fds;
    this.fdsWithheldReason =
      withheldDetail < WITHHELD_REASONS.length ? WITHHELD_REASONS[withheldDetail] : "unknown";
    this.#withheldDetail = withheldDetail;
    this.retained = retained;
    this.#large = large;
  }

  /** A message whose body is not in a packet. @param large handed over, one holder of it */
  static large(
    topic: string,
    sender: Sender,
    encoding: Encoding,
    large: LargeBody,
    fds: ReceivedFds,
    withheldDetail: number,
    retained: boolean,
  ): Message {
    return new Message(
      topic,
      sender,
      encoding,
      NO_PACKET,
      0,
      large.byteLength,
      fds,
      withheldDetail,
      large,
      retained,
    );
  }

  /** The same message with other fds, for a second subscription. */
  withFds(fds: ReceivedFds): Message<Data> {
    return new Message(
      this.topic,
      this.sender,
      this.encoding,
      this.#packet,
      this.#start,
      this.#end,
      fds,
      this.#withheldDetail,
      this.#large?.retain(),
      this.retained,
    );
  }

  /** True where the message carried fds that this client did not get. */
  get fdsWithheld(): boolean {
    return this.#withheldDetail !== 0;
  }

  /** Whether anything of it must be let go, and is not to be shared between subscriptions. */
  get holdsResources(): boolean {
    return this.#large !== undefined || this.fds.length > 0;
  }

  /** Bytes of a large body, which is memory of its own; 0 where the packet has the body. */
  get memoryBytes(): number {
    return this.#large === undefined ? 0 : this.byteLength;
  }

  /** Bytes of the packet that it keeps in memory; 0 for a large body. */
  get packetBytes(): number {
    return this.#packet.byteLength;
  }

  /** Whether both keep the same packet. */
  sharesPacketWith(other: Message<unknown>): boolean {
    return this.#packet === other.#packet;
  }

  /**
   * For the library: copies the body out of its packet, which this message then does not keep any
   * more. What `bytes` gave before stays what it was.
   * @returns where the copy ends
   */
  moveTo(target: Uint8Array, at: number): number {
    const end = at + this.byteLength;
    target.set(this.#packet.subarray(this.#start, this.#end), at);
    this.#packet = target;
    this.#start = at;
    this.#end = end;
    return end;
  }

  /** Length of the body in bytes. */
  get byteLength(): number {
    return this.#end - this.#start;
  }

  /**
   * The body as it came. A small one shares memory with other messages of its packet, a large one
   * may be mapped, and is empty once the message is disposed of: keep `bytes.slice()` if you keep it
   * for long.
   * @throws {DataError} DATA_BODY_RELEASED where a large message is disposed of
   * @throws {SyscallError} ENOMEM where a large body cannot be mapped
   */
  get bytes(): Uint8Array {
    if (this.#large !== undefined) return this.#large.bytes();
    return this.#packet.subarray(this.#start, this.#end);
  }

  /**
   * The body, decoded anew at each call: a Uint8Array for bytes, a string for text, else the value
   * that was published.
   * @throws {DataError} DATA_DECODE where the sender's body is not what its encoding says;
   *   DATA_BODY_RELEASED and SyscallError as for `bytes`
   */
  get data(): Data {
    if (this.#large !== undefined) return this.#large.decode(this.encoding) as Data;
    return decodeBody(this.encoding, this.#packet, this.#start, this.#end) as Data;
  }

  /** Closes the files that nobody took and lets go of a large body. Does nothing the second time. */
  [Symbol.dispose](): void {
    this.fds.close();
    if (this.#large === undefined) return;
    this.#large.release();
    this.#large = RELEASED_BODY;
  }
}
