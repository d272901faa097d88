/**
 * Message bodies: values to bytes and back. Bodies come from other clients and are hostile input.
 *
 * msgpackr is loaded from its entry without eval: that is a module instance of its own, so the
 * extensions refused here stay as they are for a program that uses msgpackr itself. Refused, both
 * ways: errors, regular expressions, object ids and pointers (cycles), bundled strings.
 */

import { addExtension, type Options, Packr, Unpackr } from "msgpackr/index-no-eval";
import { ArgumentError, DataError } from "../errors.ts";
import { ENCODING, type Encoding } from "../protocol/opcodes.ts";

/** How publish() is told to encode; "auto" is by the type of the value. */
export type EncodingName = "auto" | "bytes" | "text" | "json" | "msgpack";

/** A body ready to be sent. */
export interface EncodedBody {
  readonly encoding: Encoding;
  /** Valid until the next call of encodeBody(); copy it at once. */
  readonly bytes: Uint8Array;
}

/** "auto", which msgpackr knows and its types lack: a bigint only where a number would lose. */
const INT64_AUTO = "auto" as "number";

const OPTIONS: Options = {
  useRecords: false,
  variableMapSize: true,
  structuredClone: false,
  int64AsType: INT64_AUTO,
};

const PACKR = new Packr(OPTIONS);
const UNPACKR = new Unpackr(OPTIONS);
/** Reads from memory that does not last, so byte strings must be copied out. */
const COPYING_UNPACKR = new Unpackr({ ...OPTIONS, copyBuffers: true });

/**
 * msgpackr remembers the keys of maps only where the source ends below byte 180, so small bodies
 * are copied to the front of a buffer. Measured, map of 3 keys: 75 ns instead of 265 ns.
 */
const SMALL_BODY_BYTES_MAX = 179;
const SMALL_BODY = new Uint8Array(new ArrayBuffer(SMALL_BODY_BYTES_MAX + 1));
const SMALL_RANGE = { start: 0, end: 0 };

const TEXT_ENCODER = new TextEncoder();
const TEXT_DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Extension types of msgpackr that say more than data. */
const REFUSED_TYPES = [0x62, 0x65, 0x69, 0x70, 0x78];

for (const type of REFUSED_TYPES) addExtension({ type, unpack: refuseExtension });
addExtension({ Class: Error, type: 0x65, pack: refuseValue, unpack: refuseExtension });
addExtension({ Class: RegExp, type: 0x78, pack: refuseValue, unpack: refuseExtension });

/**
 * Encodes a value.
 * @param data with "auto": a Uint8Array or ArrayBuffer as bytes, a string as text, anything else
 *   as msgpack
 * @throws {ArgumentError} ARGUMENT_DATA where the value does not fit the encoding
 */
export function encodeBody(data: unknown, name: EncodingName): EncodedBody {
  switch (name) {
    case "auto":
      if (data instanceof Uint8Array) return { encoding: ENCODING.BYTES, bytes: data };
      if (data instanceof ArrayBuffer) return encodeBody(data, "bytes");
      return encodeBody(data, typeof data === "string" ? "text" : "msgpack");
    case "bytes":
      if (data instanceof Uint8Array) return { encoding: ENCODING.BYTES, bytes: data };
      if (data instanceof ArrayBuffer) {
        return { encoding: ENCODING.BYTES, bytes: new Uint8Array(data) };
      }
      throw unfit("bytes", "a Uint8Array or ArrayBuffer");
    case "text":
      if (typeof data !== "string") throw unfit("text", "a string");
      return { encoding: ENCODING.TEXT, bytes: TEXT_ENCODER.encode(data) };
    case "json":
      return { encoding: ENCODING.JSON, bytes: TEXT_ENCODER.encode(toJson(data)) };
    case "msgpack":
      return { encoding: ENCODING.MSGPACK, bytes: toMsgpack(data) };
  }
}

/**
 * Decodes a body.
 * @param packet the packet it lies in, borrowed; bytes are returned as a view onto it
 * @throws {DataError} DATA_DECODE. It has no cause on purpose: decoders quote payload in theirs
 */
export function decodeBody(
  encoding: Encoding,
  packet: Uint8Array,
  start: number,
  end: number,
): unknown {
  if (encoding === ENCODING.BYTES) return packet.subarray(start, end);
  try {
    if (encoding === ENCODING.MSGPACK) return fromMsgpack(packet, start, end);
    const text = TEXT_DECODER.decode(packet.subarray(start, end));
    return encoding === ENCODING.JSON ? JSON.parse(text) : text;
  } catch {
    throw undecodable(encoding === ENCODING.MSGPACK ? "msgpack" : "text or JSON");
  }
}

/**
 * Decodes a body of text, JSON or msgpack whose memory goes away: nothing of the value lies in it.
 * @throws {DataError} DATA_DECODE
 */
export function decodeOwnBody(encoding: Encoding, bytes: Uint8Array): unknown {
  if (encoding !== ENCODING.MSGPACK) return decodeBody(encoding, bytes, 0, bytes.byteLength);
  try {
    return COPYING_UNPACKR.unpack(bytes);
  } catch {
    throw undecodable("msgpack");
  }
}

function undecodable(name: string): DataError {
  return new DataError("DATA_DECODE", `Cannot decode message: its body is not valid ${name}`);
}

function toJson(data: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(data);
  } catch (error) {
    throw unfit("json", "a value without cycles and bigints", error);
  }
  if (text === undefined) throw unfit("json", "a value that JSON has");
  return text;
}

function fromMsgpack(packet: Uint8Array, start: number, end: number): unknown {
  const bytes = end - start;
  if (bytes > SMALL_BODY_BYTES_MAX) return UNPACKR.unpack(packet, { start, end });
  for (let index = 0; index < bytes; index += 1) {
    SMALL_BODY[index] = packet[start + index] as number;
  }
  SMALL_RANGE.end = bytes;
  return COPYING_UNPACKR.unpack(SMALL_BODY, SMALL_RANGE);
}

function toMsgpack(data: unknown): Uint8Array {
  // Without this a function, or a symbol, would arrive as nothing.
  if (typeof data === "function" || typeof data === "symbol") {
    throw unfit("msgpack", `data, and not a ${typeof data}`);
  }
  try {
    return PACKR.pack(data);
  } catch (error) {
    throw unfit("msgpack", "plain data without cycles, errors and regular expressions", error);
  }
}

function unfit(name: EncodingName, wanted: string, cause?: unknown): ArgumentError {
  const message = `Cannot encode data as ${name}: it must be ${wanted}`;
  return new ArgumentError("ARGUMENT_DATA", message, "data", cause === undefined ? {} : { cause });
}

function refuseExtension(): never {
  throw new DataError("DATA_DECODE", "Cannot decode message: its body holds a refused extension");
}

function refuseValue(): never {
  throw new ArgumentError(
    "ARGUMENT_DATA",
    "Cannot encode data as msgpack: errors and regular expressions are not data",
    "data",
  );
}
