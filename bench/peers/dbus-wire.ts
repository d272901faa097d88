/**
 * The D-Bus wire format as far as a benchmark needs it: little-endian messages are written, and
 * read where they are signals with a byte array. Touches no socket.
 *
 *   0  u8  'l'   1  u8 type   2  u8 flags   3  u8 version 1
 *   4  u32 body bytes         8  u32 serial
 *   12 u32 bytes of the header fields, then the fields, padded to 8
 *   …  body
 *
 * @see D-Bus Specification, "Message Protocol"
 */

/** Message types. */
export const DBUS_TYPE = { CALL: 1, RETURN: 2, ERROR: 3, SIGNAL: 4 } as const;

/** Codes of header fields. */
const FIELD = {
  PATH: 1,
  INTERFACE: 2,
  MEMBER: 3,
  REPLY_SERIAL: 5,
  DESTINATION: 6,
  SENDER: 7,
  SIGNATURE: 8,
  UNIX_FDS: 9,
} as const;

const FIXED_HEADER_BYTES = 16;

/** Writes aligned values into memory that grows. */
export class DbusWriter {
  #bytes = new Uint8Array(512);
  #view = new DataView(this.#bytes.buffer);
  length = 0;

  align(to: number): this {
    const next = Math.ceil(this.length / to) * to;
    this.#grow(next - this.length);
    this.length = next;
    return this;
  }

  u8(value: number): this {
    this.#grow(1);
    this.#bytes[this.length] = value;
    this.length += 1;
    return this;
  }

  u32(value: number): this {
    this.align(4).#grow(4);
    this.#view.setUint32(this.length, value, true);
    this.length += 4;
    return this;
  }

  u64(value: bigint): this {
    this.align(8).#grow(8);
    this.#view.setBigUint64(this.length, value, true);
    this.length += 8;
    return this;
  }

  /** A boolean is a u32 on this wire. */
  bool(value: boolean): this {
    return this.u32(value ? 1 : 0);
  }

  string(text: string): this {
    return this.u32(Buffer.byteLength(text)).raw(Buffer.from(`${text}\0`));
  }

  signature(text: string): this {
    return this.u8(text.length).raw(Buffer.from(`${text}\0`));
  }

  raw(bytes: Uint8Array): this {
    this.#grow(bytes.byteLength);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.byteLength;
    return this;
  }

  /** An array: its length in bytes counts from its first element, after the padding before that. */
  array(elementAlignment: number, write: (writer: this) => void): this {
    this.u32(0);
    const lengthAt = this.length - 4;
    this.align(elementAlignment);
    const from = this.length;
    write(this);
    this.#view.setUint32(lengthAt, this.length - from, true);
    return this;
  }

  /** A copy of all that was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }

  #grow(by: number): void {
    const needed = this.length + by;
    if (needed <= this.#bytes.byteLength) return;
    const grown = new Uint8Array(Math.max(needed, 2 * this.#bytes.byteLength));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** What a message says beside its body. */
export interface DbusHeader {
  readonly type: number;
  readonly serial: number;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly destination?: string;
  readonly signature?: string;
  readonly unixFds?: number;
}

/** One whole message. */
export function encodeDbusMessage(header: DbusHeader, body: Uint8Array): Uint8Array {
  const writer = new DbusWriter();
  writer.u8(0x6c).u8(header.type).u8(0).u8(1).u32(body.byteLength).u32(header.serial);
  writer.array(8, () => {
    writeField(writer, FIELD.PATH, "o", () => writer.string(header.path));
    writeField(writer, FIELD.INTERFACE, "s", () => writer.string(header.interface));
    writeField(writer, FIELD.MEMBER, "s", () => writer.string(header.member));
    const { destination, signature, unixFds } = header;
    if (destination !== undefined) {
      writeField(writer, FIELD.DESTINATION, "s", () => writer.string(destination));
    }
    if (signature !== undefined) {
      writeField(writer, FIELD.SIGNATURE, "g", () => writer.signature(signature));
    }
    if (unixFds !== undefined) writeField(writer, FIELD.UNIX_FDS, "u", () => writer.u32(unixFds));
  });
  return writer.align(8).raw(body).finish();
}

function writeField(writer: DbusWriter, code: number, type: string, write: () => void): void {
  writer.align(8).u8(code).signature(type);
  write();
}

/** Where the parts of a message lie. */
export interface DbusLayout {
  readonly type: number;
  /** Offset of the body from the start of the message. */
  readonly bodyAt: number;
  readonly bodyBytes: number;
  readonly totalBytes: number;
}

/**
 * Looks at one message.
 * @param at where it starts
 * @returns undefined where less than its header is there
 */
export function readDbusLayout(bytes: Uint8Array, at: number, end: number): DbusLayout | undefined {
  if (end - at < FIXED_HEADER_BYTES) return undefined;
  if (bytes[at] !== 0x6c) throw new Error(`A D-Bus message starts with byte ${bytes[at]}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, FIXED_HEADER_BYTES);
  const bodyBytes = view.getUint32(4, true);
  const fieldBytes = view.getUint32(12, true);
  const bodyAt = FIXED_HEADER_BYTES + Math.ceil(fieldBytes / 8) * 8;
  return { type: bytes[at + 1] ?? 0, bodyAt, bodyBytes, totalBytes: bodyAt + bodyBytes };
}
