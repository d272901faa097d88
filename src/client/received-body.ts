/**
 * The body and the files of one REQUEST or REPLY, taken out of a packet and off the lane, before
 * they become an object for the program. Closes what it took where the frame cannot be used.
 */

import { ProtocolError } from "../errors.ts";
import { detailOf, fdCountOf, flagsOf, opcodeOf } from "../protocol/frame.ts";
import { FRAME_HEADER_BYTES } from "../protocol/limits.ts";
import {
  type Encoding,
  FLAG_FDS_ON_LANE,
  FLAGS_ENCODING_MASK,
  prefixBytesOf,
} from "../protocol/opcodes.ts";
import { isLarge, largeBodyBytes } from "../protocol/packet.ts";
import { LargeBody } from "./large-body.ts";
import { Message, NO_PACKET, type Sender } from "./message.ts";
import { ReceivedFds } from "./received-fds.ts";

/** See the head of this file. */
export interface ReceivedBody {
  readonly encoding: Encoding;
  /** Kept by the message made of it. */
  readonly packet: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly fds: ReceivedFds;
  /** A value of WITHHELD_REASON; 0 where nothing is withheld. */
  readonly withheldDetail: number;
  readonly large: LargeBody | undefined;
  /** Files that this process had no room for. */
  readonly fdsLost: number;
  /** It had no room for the large body either: there is nothing to read. */
  readonly isBodyLost: boolean;
}

/**
 * Takes body and files of a frame whose header was checked.
 * @param takeLaneFds fetches so many fds of the next lane record; they are the caller's
 * @returns owns its fds and its large body
 * @throws {ProtocolError} PROTOCOL_LANE
 */
export function takeBody(
  packet: Uint8Array,
  words: Uint32Array,
  at: number,
  takeLaneFds: (count: number) => number[],
): ReceivedBody {
  const kind = words[(at >>> 2) + 1] as number;
  const flags = flagsOf(kind);
  const encoding = (flags & FLAGS_ENCODING_MASK) as Encoding;
  const withheldDetail = detailOf(kind);
  const count = fdCountOf(kind);
  if (count > 0 && (flags & FLAG_FDS_ON_LANE) === 0) {
    throw new ProtocolError("PROTOCOL_LANE", "Cannot take fds: they did not come by lane", at);
  }
  const fds = count === 0 ? [] : takeLaneFds(count);
  const fdsLost = count - fds.length;
  if (!isLarge(kind)) {
    const start = at + FRAME_HEADER_BYTES + prefixBytesOf(opcodeOf(kind));
    const end = at + (words[at >>> 2] as number);
    const received = fds.length === 0 ? ReceivedFds.NONE : new ReceivedFds(fds);
    const where = { packet, start, end, large: undefined, isBodyLost: false };
    return { encoding, ...where, fds: received, withheldDetail, fdsLost };
  }
  const byteLength = largeBodyBytes(words, at);
  // The kernel hands out the first ones first, so the body is the last to be lost.
  const [bodyFd, ...files] = fds;
  const large = bodyFd === undefined ? undefined : new LargeBody(bodyFd, byteLength);
  const where = { packet: NO_PACKET, start: 0, end: byteLength, large };
  const received = files.length === 0 ? ReceivedFds.NONE : new ReceivedFds(files);
  const isBodyLost = large === undefined;
  return { encoding, ...where, fds: received, withheldDetail, fdsLost, isBodyLost };
}

/** Lets go of all that a body owns. */
export function closeBody(body: ReceivedBody): void {
  body.fds.close();
  body.large?.release();
}

/** A message of a body, which it takes over. @param name of the topic or service */
export function messageOf(name: string, sender: Sender, body: ReceivedBody): Message {
  const { encoding, packet, start, end, fds, withheldDetail, large } = body;
  return new Message(name, sender, encoding, packet, start, end, fds, withheldDetail, large);
}
