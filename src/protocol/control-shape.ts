/**
 * A small table-driven checker for the maps of control frames: which keys, which values. Not a
 * validation library; it knows what those bodies need and no more.
 */

import { AssertionError } from "../assert.ts";
import { ProtocolError } from "../errors.ts";
import { type ControlMap, type ControlValue, decodeControlBody } from "./control-body.ts";
import { CONTROL_BODY_BYTES_MAX } from "./limits.ts";

/** What one key of a map must hold. */
export interface Field<Value, Optional extends boolean = boolean> {
  readonly optional: Optional;
  /** The end of the sentence "the key … is not …". */
  readonly wanted: string;
  readonly accepts: (value: ControlValue) => value is Value & ControlValue;
}

/** A field for each key of a body. The compiler checks value types and which are optional. */
export type Shape<Body> = {
  readonly [Key in keyof Body]-?: undefined extends Body[Key]
    ? Field<Exclude<Body[Key], undefined>, true>
    : Field<Body[Key], false>;
};

/** Decodes the body of one kind of control frame; the parameters are decodeControlBody()'s. */
export type BodyDecoder<Body> = (bytes: Uint8Array, start: number, end: number) => Body;

/** Turns a body into the map that encodeControlBody() and PacketWriter.appendControl() take. */
export type BodyMapper<Body> = (body: Body) => ControlMap;

/** Both for one kind of body. */
export type BodyCodec<Body> = readonly [decode: BodyDecoder<Body>, toMap: BodyMapper<Body>];

/** An integer that fits a u32. */
export const U32: Field<number, false> = {
  optional: false,
  wanted: "an integer from 0 to 2^32 - 1",
  accepts: (value): value is number => isCount(value) && value < 2 ** 32,
};

/** An integer from 0 to 2^53 - 1. */
export const COUNT: Field<number, false> = {
  optional: false,
  wanted: "an integer from 0 to 2^53 - 1",
  accepts: isCount,
};

/** True or false. */
export const FLAG: Field<boolean, false> = {
  optional: false,
  wanted: "a boolean",
  accepts: (value): value is boolean => typeof value === "boolean",
};

/** A string of any length that fits a body. */
export const TEXT: Field<string, false> = {
  optional: false,
  wanted: "a string",
  accepts: (value): value is string => typeof value === "string",
};

/** A string of at most `bytesMax` bytes in UTF-8. */
export function shortText(bytesMax: number): Field<string, false> {
  return {
    optional: false,
    wanted: `a string of at most ${bytesMax} bytes`,
    accepts: (value): value is string =>
      typeof value === "string" && Buffer.byteLength(value) <= bytesMax,
  };
}

/** One of the words of a list. */
export function oneOf<Word extends string>(words: readonly Word[]): Field<Word, false> {
  return {
    optional: false,
    wanted: `one of ${words.join(", ")}`,
    accepts: (value): value is Word => words.includes(value as Word),
  };
}

/** An array of at most `countMax` integers that fit a u32. */
export function u32List(countMax: number): Field<number[], false> {
  return {
    optional: false,
    wanted: `an array of at most ${countMax} integers from 0 to 2^32 - 1`,
    accepts: (value): value is number[] =>
      Array.isArray(value) && value.length <= countMax && value.every(U32.accepts),
  };
}

/** The same field, but the key may be missing. */
export function optional<Value>(field: Field<Value, false>): Field<Value, true> {
  return { ...field, optional: true };
}

/**
 * Makes the decoder for a body that clients send, and the way back. It has at most
 * CONTROL_BODY_BYTES_MAX bytes, and an unknown key is an error.
 * @param name of the frame, for messages
 * @returns a decoder that throws ProtocolError PROTOCOL_CONTROL_BODY for anything else; and as
 *   bodyMapper()
 */
export function clientBody<Body>(name: string, shape: Shape<Body>): BodyCodec<Body> {
  const take = clientMapTaker(name, shape);
  const decode: BodyDecoder<Body> = (bytes, start, end) =>
    take(decodeClientMap(name, bytes, start, end), start);
  return [decode, bodyMapper(name, shape)];
}

/**
 * Makes the decoder for a body that the broker sends, and the way back. Unknown keys are ignored,
 * since a later broker may send more.
 * @param name of the frame, for messages
 * @returns a decoder that throws ProtocolError PROTOCOL_CONTROL_BODY for a missing or wrong key; and as
 *   bodyMapper()
 */
export function brokerBody<Body>(name: string, shape: Shape<Body>): BodyCodec<Body> {
  const fields = fieldsOf(shape);
  const decode: BodyDecoder<Body> = (bytes, start, end) => {
    const map = decodeControlBody(bytes, start, end);
    checkFields(name, fields, map, start);
    return copyFields(fields, map) as Body;
  };
  return [decode, bodyMapper(name, shape)];
}

/**
 * Makes the way back: from a body to a map.
 * @returns a function that asserts each value, since a wrong one is a bug of the caller. It gives the
 *   body itself where that holds the keys of the shape alone, each with a value
 */
export function bodyMapper<Body>(name: string, shape: Shape<Body>): BodyMapper<Body> {
  const fields = fieldsOf(shape);
  return (body) => {
    const from = body as Readonly<Record<string, ControlValue | undefined>>;
    let known = 0;
    for (const { key, field } of fields) {
      const value = from[key];
      if (value === undefined && field.optional) continue;
      if (value === undefined || !field.accepts(value)) throw bodyBug(name, key, field);
      known += 1;
    }
    return Object.keys(from).length === known ? (from as ControlMap) : copyFields(fields, from);
  };
}

/** The keys of the shape that have a value, and no others. */
function copyFields(
  fields: Fields,
  from: Readonly<Record<string, ControlValue | undefined>>,
): ControlMap {
  const map: ControlMap = Object.create(null);
  for (const { key } of fields) {
    const value = from[key];
    if (value !== undefined) map[key] = value;
  }
  return map;
}

/**
 * decodeControlBody() with the size limit for bodies from clients.
 * @param name of the frame, for messages
 * @throws {ProtocolError} PROTOCOL_CONTROL_BODY
 */
export function decodeClientMap(
  name: string,
  bytes: Uint8Array,
  start: number,
  end: number,
): ControlMap {
  if (end - start > CONTROL_BODY_BYTES_MAX) {
    const reason = `it has ${end - start} bytes, limit is ${CONTROL_BODY_BYTES_MAX}`;
    throw shapeError(name, reason, start);
  }
  return decodeControlBody(bytes, start, end);
}

/**
 * The second half of what clientBody() decodes with, for who has looked at the map that decodeClientMap() gave.
 * @param name of the frame, for messages
 * @returns a function that checks a map, and gives it back: it holds the keys of the shape alone. The
 *   second parameter is the offset of the body, for errors. Throws ProtocolError PROTOCOL_CONTROL_BODY
 */
export function clientMapTaker<Body>(
  name: string,
  shape: Shape<Body>,
): (map: ControlMap, byteOffset: number) => Body {
  const fields = fieldsOf(shape);
  return (map, byteOffset) => {
    const known = checkFields(name, fields, map, byteOffset);
    if (Object.keys(map).length > known) {
      throw shapeError(name, "it has an unknown key", byteOffset);
    }
    return map as Body;
  };
}

/** @returns how many of the fields are there */
function checkFields(name: string, fields: Fields, map: ControlMap, byteOffset: number): number {
  let known = 0;
  for (const { key, field } of fields) {
    const value = map[key];
    if (value === undefined) {
      if (field.optional) continue;
      throw shapeError(name, `the key "${key}" is missing`, byteOffset);
    }
    if (!field.accepts(value)) {
      throw shapeError(name, `the key "${key}" is not ${field.wanted}`, byteOffset);
    }
    known += 1;
  }
  return known;
}

/** The fields of a shape, in its order. */
type Fields = readonly { readonly key: string; readonly field: Field<ControlValue> }[];

function fieldsOf(shape: Shape<unknown>): Fields {
  const entries: [string, Field<ControlValue>][] = Object.entries(shape);
  return entries.map(([key, field]) => ({ key, field }));
}

/** Made only where it is thrown: a body is made for every client that connects. */
function bodyBug(name: string, key: string, { wanted }: Field<ControlValue>): AssertionError {
  return new AssertionError(`The key "${key}" of ${name} is not ${wanted}`);
}

function shapeError(name: string, reason: string, byteOffset: number): ProtocolError {
  const message = `Cannot read body of ${name}: ${reason}`;
  return new ProtocolError("PROTOCOL_CONTROL_BODY", message, byteOffset);
}

function isCount(value: ControlValue): value is number {
  // decodeControlBody() lets safe integers through alone; bodies of our own are checked here.
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
