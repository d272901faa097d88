/**
 * The bodies of control frames: one msgpack map with string keys, in the strict subset that
 * docs/protocol.md section 3 allows. Not for the bodies of messages, which are opaque.
 *
 * Written here and not taken from msgpackr, since peers are hostile: no extensions, no floats, no
 * binary, no duplicate keys, a depth limit, and no allocation for a length that cannot be true.
 * Maps come out with null prototypes, so keys such as `__proto__` are keys like any other.
 */

import { assert } from "../assert.ts";
import { ProtocolError } from "../errors.ts";
import { CONTROL_BODY_DEPTH_MAX } from "./limits.ts";

/** What a control body may hold. Numbers are integers up to 2^53 - 1 in magnitude. */
export type ControlValue = null | boolean | number | string | ControlValue[] | ControlMap;

/** A map of a control body. Decoded ones have a null prototype. */
export type ControlMap = { [key: string]: ControlValue };

// First bytes of the msgpack encodings. Within a family the wider encodings follow the narrowest.
const FIXINT_MAX = 0x7f;
const FIXMAP = 0x80;
const FIXARRAY = 0x90;
const FIXSTR = 0xa0;
const NIL = 0xc0;
const FALSE = 0xc2;
const TRUE = 0xc3;
const UINT8 = 0xcc;
const UINT64 = 0xcf;
const INT8 = 0xd0;
const INT64 = 0xd3;
const STR8 = 0xd9;
const STR32 = 0xdb;
const ARRAY16 = 0xdc;
const ARRAY32 = 0xdd;
const MAP16 = 0xde;
const MAP32 = 0xdf;
const NEGATIVE_FIXINT = 0xe0;

// ignoreBOM keeps a leading U+FEFF, so that what was encoded comes back unchanged.
const UTF8_DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const UTF8_ENCODER = new TextEncoder();

/** Nearly all strings of control bodies are ASCII and shorter: they are decoded by way of this. */
const ASCII_SCRATCH = Buffer.from(new ArrayBuffer(0x100));

/**
 * Decodes a control body.
 * @param bytes borrowed; nothing of the result points into it
 * @param start offset of the body's first byte
 * @param end offset behind its last byte, at most bytes.byteLength
 * @returns the map, with a null prototype like every map in it
 * @throws {ProtocolError} PROTOCOL_CONTROL_BODY, with the offset into `bytes`, for everything that
 *   is not exactly one map of the subset
 * @see https://github.com/msgpack/msgpack/blob/master/spec.md
 */
export function decodeControlBody(bytes: Uint8Array, start: number, end: number): ControlMap {
  assert(start >= 0, "the body starts inside its buffer");
  assert(start <= end, "the body does not end before it starts");
  assert(end <= bytes.byteLength, "the body ends inside its buffer");
  return new BodyDecoder(bytes, start, end).decodeWhole();
}

/**
 * Encodes a control body with the shortest encodings. Behaves like snprintf(3) where the room is
 * too small: bytes behind `target` are not written, and the result says how many were wanted.
 * @param map numbers must be integers up to 2^53 - 1 in magnitude, depth at most
 *   CONTROL_BODY_DEPTH_MAX; anything else is a bug of the caller and asserted
 * @param target written from `offset` on; its contents there mean nothing if the body did not fit
 * @returns length of the body in bytes; it fits if offset + length <= target.byteLength
 */
export function encodeControlBody(map: ControlMap, target: Uint8Array, offset: number): number {
  const encoder = new BodyEncoder(target, offset);
  encoder.encodeValue(map, 1);
  return encoder.position - offset;
}

/** One pass over one body. */
class BodyDecoder {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #position: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#end = end;
    this.#position = start;
  }

  decodeWhole(): ControlMap {
    const start = this.#position;
    const value = this.#decodeValue(1);
    if (!isMap(value)) {
      this.#position = start;
      throw this.#fault("it is not a map");
    }
    if (this.#position !== this.#end) throw this.#fault("bytes follow its map");
    return value;
  }

  /** @param depth of this value, if it is a map or an array; the outer map has depth 1 */
  #decodeValue(depth: number): ControlValue {
    const head = this.#takeByte();
    if (head <= FIXINT_MAX) return head;
    if (head < FIXARRAY) return this.#decodeMap(head - FIXMAP, depth);
    if (head < FIXSTR) return this.#decodeArray(head - FIXARRAY, depth);
    if (head < NIL) return this.#decodeString(head - FIXSTR);
    if (head >= NEGATIVE_FIXINT) return head - 0x100;
    return this.#decodeHeaded(head, depth);
  }

  /** Decodes what is not told by its first byte alone; the width of what follows is in there. */
  #decodeHeaded(head: number, depth: number): ControlValue {
    if (head === NIL) return null;
    if (head === FALSE || head === TRUE) return head === TRUE;
    if (head >= UINT8 && head <= UINT64) return this.#takeUnsigned(1 << (head - UINT8));
    if (head >= INT8 && head <= INT64) return this.#takeSigned(1 << (head - INT8));
    if (head >= STR8 && head <= STR32) {
      return this.#decodeString(this.#takeUnsigned(1 << (head - STR8)));
    }
    if (head === ARRAY16 || head === ARRAY32) {
      return this.#decodeArray(this.#takeUnsigned(2 << (head - ARRAY16)), depth);
    }
    if (head === MAP16 || head === MAP32) {
      return this.#decodeMap(this.#takeUnsigned(2 << (head - MAP16)), depth);
    }
    this.#position -= 1;
    throw this.#fault("it holds a float, binary or extension value");
  }

  #decodeString(length: number): string {
    const from = this.#take(length);
    if (this.#isShortAscii(from, length)) return ASCII_SCRATCH.toString("latin1", 0, length);
    try {
      return UTF8_DECODER.decode(this.#bytes.subarray(from, from + length));
    } catch (cause) {
      this.#position = from;
      throw this.#fault("a string is not UTF-8", cause);
    }
  }

  /** Copies the text to ASCII_SCRATCH; so no view is made of each string. */
  #isShortAscii(from: number, length: number): boolean {
    if (length > ASCII_SCRATCH.byteLength) return false;
    for (let index = 0; index < length; index += 1) {
      const byte = this.#bytes[from + index] as number;
      if (byte >= 0x80) return false;
      ASCII_SCRATCH[index] = byte;
    }
    return true;
  }

  #decodeArray(length: number, depth: number): ControlValue[] {
    this.#checkContainer(length, depth);
    const values: ControlValue[] = [];
    for (let index = 0; index < length; index += 1) values.push(this.#decodeValue(depth + 1));
    return values;
  }

  #decodeMap(length: number, depth: number): ControlMap {
    this.#checkContainer(length * 2, depth);
    const map: ControlMap = Object.create(null);
    for (let index = 0; index < length; index += 1) {
      const at = this.#position;
      const key = this.#decodeValue(CONTROL_BODY_DEPTH_MAX + 1);
      if (typeof key !== "string" || key in map) {
        this.#position = at;
        throw this.#fault("a key is not a string, or stands in its map twice");
      }
      map[key] = this.#decodeValue(depth + 1);
    }
    return map;
  }

  /** @param bytesMin bytes that the contents need at least: one for each value */
  #checkContainer(bytesMin: number, depth: number): void {
    if (depth > CONTROL_BODY_DEPTH_MAX) {
      throw this.#fault(`it nests deeper than ${CONTROL_BODY_DEPTH_MAX}, or a key is no string`);
    }
    if (bytesMin > this.#end - this.#position) throw this.#fault("a length reaches past its end");
  }

  /** Takes `length` bytes and returns the offset of the first. */
  #take(length: number): number {
    const at = this.#position;
    if (length > this.#end - at) throw this.#fault("a length reaches past its end");
    this.#position = at + length;
    return at;
  }

  #takeByte(): number {
    return this.#bytes[this.#take(1)] ?? 0;
  }

  #takeUnsigned(width: number): number {
    return this.#takeRest(this.#takeByte(), width);
  }

  #takeSigned(width: number): number {
    return this.#takeRest((this.#takeByte() << 24) >> 24, width);
  }

  /** Joins the most significant byte of an integer with the bytes that follow. */
  #takeRest(first: number, width: number): number {
    let value = first;
    for (let index = 1; index < width; index += 1) value = value * 0x100 + this.#takeByte();
    // Rounding cannot make an unsafe integer look safe: it never crosses 2^53 towards zero.
    if (!Number.isSafeInteger(value)) throw this.#fault("an integer is beyond 2^53 - 1");
    return value;
  }

  #fault(reason: string, cause?: unknown): ProtocolError {
    const message = `Cannot decode control body: ${reason}`;
    const options = cause === undefined ? undefined : { cause };
    return new ProtocolError("PROTOCOL_CONTROL_BODY", message, this.#position, options);
  }
}

function isMap(value: ControlValue): value is ControlMap {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Stores beyond the target's end are dropped, while `position` goes on counting. */
class BodyEncoder {
  position: number;
  readonly #target: Uint8Array;

  constructor(target: Uint8Array, offset: number) {
    this.#target = target;
    this.position = offset;
  }

  /** @param depth of this value, if it is a map or an array */
  encodeValue(value: ControlValue, depth: number): void {
    if (value === null) this.#put(NIL, 1);
    else if (typeof value === "boolean") this.#put(value ? TRUE : FALSE, 1);
    else if (typeof value === "number") this.#encodeInteger(value);
    else if (typeof value === "string") this.#encodeString(value);
    else this.#encodeContainer(value, depth);
  }

  #encodeContainer(value: ControlValue[] | ControlMap, depth: number): void {
    assert(typeof value === "object", `a control body holds no ${typeof value}`);
    assert(depth <= CONTROL_BODY_DEPTH_MAX, "a control body nests no deeper than its limit");
    if (Array.isArray(value)) {
      this.#encodeLength(value.length, FIXARRAY, ARRAY16);
      for (const item of value) this.encodeValue(item, depth + 1);
      return;
    }
    const keys = Object.keys(value);
    this.#encodeLength(keys.length, FIXMAP, MAP16);
    for (const key of keys) {
      this.#encodeString(key);
      this.encodeValue(value[key] as ControlValue, depth + 1);
    }
  }

  /** The head of an array or map, in 1, 3 or 5 bytes. */
  #encodeLength(length: number, fixed: number, head16: number): void {
    if (length < 0x10) this.#put(fixed + length, 1);
    else if (length < 0x1_0000) this.#putHeaded(head16, length, 2);
    else this.#putHeaded(head16 + 1, length, 4);
  }

  #encodeString(value: string): void {
    if (this.#encodeAscii(value)) return;
    const bytes = UTF8_ENCODER.encode(value);
    const length = bytes.byteLength;
    if (length < 0x20) this.#put(FIXSTR + length, 1);
    else if (length < 0x100) this.#putHeaded(STR8, length, 1);
    else if (length < 0x1_0000) this.#putHeaded(STR8 + 1, length, 2);
    else this.#putHeaded(STR32, length, 4);
    if (this.position + length <= this.#target.byteLength) this.#target.set(bytes, this.position);
    this.position += length;
  }

  /**
   * Nearly all strings of control bodies, without the array that TextEncoder makes of each.
   * @returns false where it is too long, or no ASCII: nothing counts as encoded then
   */
  #encodeAscii(value: string): boolean {
    const { length } = value;
    if (length >= 0x100) return false;
    const start = this.position + (length < 0x20 ? 1 : 2);
    for (let index = 0; index < length; index += 1) {
      const code = value.charCodeAt(index);
      if (code >= 0x80) return false;
      this.#target[start + index] = code;
    }
    if (length < 0x20) this.#put(FIXSTR + length, 1);
    else this.#putHeaded(STR8, length, 1);
    this.position += length;
    return true;
  }

  #encodeInteger(value: number): void {
    assert(Number.isSafeInteger(value), "a number of a control body is an integer below 2^53");
    // A signed encoding has room for half the magnitude; as -1 - value, both halves are alike.
    const head = value >= 0 ? UINT8 : INT8;
    const magnitude = value >= 0 ? value : 2 * (-1 - value);
    if (value >= -0x20 && value <= FIXINT_MAX) this.#put(value, 1);
    else if (magnitude < 0x100) this.#putHeaded(head, value, 1);
    else if (magnitude < 0x1_0000) this.#putHeaded(head + 1, value, 2);
    else if (magnitude < 2 ** 32) this.#putHeaded(head + 2, value, 4);
    else this.#putHeaded(head + 3, value, 8);
  }

  #putHeaded(head: number, value: number, width: number): void {
    this.#put(head, 1);
    this.#put(value, width);
  }

  /** Big-endian two's complement: flooring division carries the sign into the upper bytes. */
  #put(value: number, width: number): void {
    let rest = value;
    for (let at = this.position + width - 1; at >= this.position; at -= 1) {
      this.#target[at] = rest & 0xff;
      rest = Math.floor(rest / 0x100);
    }
    this.position += width;
  }
}
