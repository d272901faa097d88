/**
 * A received message. Its body stays in the packet it came in until somebody asks for it, so a
 * message that is only counted or forwarded costs one small object.
 */

import type { Encoding } from "../protocol/opcodes.ts";
import { decodeBody } from "./body-codec.ts";
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

/** A message with its topic and kernel-attested sender. */
export class Message<Data = unknown> {
  readonly topic: string;
  readonly sender: Sender;
  /** How the body is encoded: a value of ENCODING. */
  readonly encoding: Encoding;
  /**
   * The files that came with it. Take what you want to keep; the rest is closed when the next
   * message is asked for, or when the callback has finished.
   */
  readonly fds: ReceivedFds;
  /** True where the message carried fds that this client did not get. */
  readonly fdsWithheld: boolean;
  readonly #packet: Uint8Array;
  readonly #start: number;
  readonly #end: number;

  /** Made by the library. */
  constructor(
    topic: string,
    sender: Sender,
    encoding: Encoding,
    packet: Uint8Array,
    start: number,
    end: number,
    fds: ReceivedFds,
    fdsWithheld: boolean,
  ) {
    this.topic = topic;
    this.sender = sender;
    this.encoding = encoding;
    this.#packet = packet;
    this.#start = start;
    this.#end = end;
    this.fds = fds;
    this.fdsWithheld = fdsWithheld;
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
      this.fdsWithheld,
    );
  }

  /** Length of the body in bytes. */
  get byteLength(): number {
    return this.#end - this.#start;
  }

  /**
   * The body as it came, without a copy. It shares memory with other messages of its packet: keep
   * `bytes.slice()` if you keep it for long.
   */
  get bytes(): Uint8Array {
    return this.#packet.subarray(this.#start, this.#end);
  }

  /**
   * The body, decoded anew at each call: a Uint8Array for bytes, a string for text, else the value
   * that was published.
   * @throws {DataError} DATA_DECODE where the sender's body is not what its encoding says
   */
  get data(): Data {
    return decodeBody(this.encoding, this.#packet, this.#start, this.#end) as Data;
  }
}
