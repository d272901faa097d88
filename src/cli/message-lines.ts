/**
 * Received messages as lines, for people and for programs. Bodies are strangers' input: whatever
 * they hold, a line stays a line. Pure but for fstat(2) of received files.
 */

import type { Message, WithheldReason } from "../client/message.ts";
import type { StatusEvent } from "../client/status.ts";
import { DataError } from "../errors.ts";
import { ENCODING, type Encoding } from "../protocol/opcodes.ts";
import { parseExactJson } from "./exact-json.ts";
import { printable } from "./printable-text.ts";

/** Bytes of a binary body that people get to see. */
const SHOWN_BYTES_MAX = 32;

const TEXT_DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const ENCODING_NAMES: Readonly<Record<Encoding, string>> = {
  [ENCODING.BYTES]: "bytes",
  [ENCODING.TEXT]: "text",
  [ENCODING.JSON]: "json",
  [ENCODING.MSGPACK]: "msgpack",
};

/** Why somebody did not get the files of a message. */
const WITHHELD_WORDS: Readonly<Record<WithheldReason, string>> = {
  policy: "files withheld by the policy",
  kernel: "files withheld by the kernel, which did not pass them on",
  expired: "files expired: they were not taken in time",
  unknown: "files withheld",
};

/** What a program should know beside messages. */
export type Notice =
  | {
      readonly type: "gap";
      readonly topic: string | undefined;
      readonly count: number | undefined;
      readonly reason: string;
    }
  | Extract<StatusEvent, { type: "fds-lost" }>;

/** `topic  uid=… pid=…  data`, without the line end. */
export function humanLine(message: Message): string {
  const { topic, sender, fds, retained } = message;
  const files = fds.length === 0 ? "" : `  [${countOf(fds.length, "file")}]`;
  const why = withheldWords(message);
  const withheld = why === undefined ? "" : `  [${why}]`;
  const kept = retained ? "  [retained]" : "";
  const origin = `uid=${sender.uid} pid=${sender.pid}`;
  return `${printable(topic)}  ${origin}  ${humanData(message)}${files}${withheld}${kept}`;
}

/**
 * One message as the fields of a JSON object, without its braces and without the received files,
 * which are written piece by piece.
 */
export function jsonFields(message: Message): string {
  const { topic, sender, encoding, fdsWithheld, fdsWithheldReason, retained } = message;
  const fields = { topic, sender, encoding: ENCODING_NAMES[encoding], ...jsonData(message) };
  const withheld = fdsWithheld && { fdsWithheld, fdsWithheldReason };
  const marks = { ...withheld, ...(retained && { retained }) };
  return toJson({ ...fields, ...marks }).slice(1, -1);
}

/** A notice as a line of JSON, without the line end. */
export function jsonNotice({ type, ...rest }: Notice): string {
  return toJson(type === "gap" ? { gap: rest } : { fdsLost: rest });
}

/** The same in words. */
export function humanNotice(notice: Notice): string {
  if (notice.type === "fds-lost") {
    const files = countOf(notice.count, "file");
    return `${files} lost on "${notice.topic}": this process may hold no more`;
  }
  const where = notice.topic === undefined ? "" : ` on "${notice.topic}"`;
  if (notice.count === undefined) return `Messages may be missing${where}: ${notice.reason}`;
  return `${countOf(notice.count, "message")} lost${where}: ${notice.reason}`;
}

/** Why a message came without its files; undefined where it has them all. */
export function withheldWords({ fdsWithheldReason: why }: Message): string | undefined {
  return why === undefined ? undefined : WITHHELD_WORDS[why];
}

/** "1 file", "2 files". */
export function countOf(count: number, noun: string): string {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}

/** A message's body for people, on one line. */
export function humanData(message: Message): string {
  if (message.encoding === ENCODING.BYTES) return humanBytes(message.bytes);
  try {
    const data = readData(message);
    // Many bodies come from `echo`, and its line end is not worth an escape.
    return printable(typeof data === "string" ? data.replace(/\n$/, "") : toJson(data));
  } catch (error) {
    const name = ENCODING_NAMES[message.encoding];
    if (!isUndecodable(error)) throw error;
    return `(${countOf(message.byteLength, "byte")}, not the ${name} that it claims to be)`;
  }
}

function humanBytes(bytes: Uint8Array): string {
  const shown = Buffer.from(bytes.subarray(0, SHOWN_BYTES_MAX)).toString("hex");
  const rest = bytes.length > SHOWN_BYTES_MAX ? "…" : "";
  return bytes.length === 0 ? "(empty)" : `(${countOf(bytes.length, "byte")}) ${shown}${rest}`;
}

function jsonData(message: Message): { data: unknown } | { bytesBase64: string } {
  const base64 = () => ({ bytesBase64: Buffer.from(message.bytes).toString("base64") });
  if (message.encoding === ENCODING.BYTES) return base64();
  try {
    const data = readData(message);
    // Some values decode and have no place in JSON, a very deep one among them.
    toJson(data);
    return { data };
  } catch (error) {
    if (!isUndecodable(error)) throw error;
    return base64();
  }
}

/** The body's value, to be written as JSON. */
function readData(message: Message): unknown {
  if (message.encoding !== ENCODING.JSON) return message.data;
  try {
    return parseExactJson(TEXT_DECODER.decode(message.bytes));
  } catch (error) {
    // Too deep is told apart, and handled, by who called.
    if (error instanceof RangeError) throw error;
    throw new DataError("DATA_DECODE", "Cannot decode message: its body is not valid JSON");
  }
}

/** Not what its encoding says, or nested too deep to be written. */
function isUndecodable(error: unknown): boolean {
  return error instanceof DataError || error instanceof RangeError;
}

/** JSON on one line. Of what msgpack has and JSON lacks, bytes and large integers have a form. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) => {
    if (typeof member === "bigint") return member.toString();
    if (member instanceof Uint8Array)
      return { bytesBase64: Buffer.from(member).toString("base64") };
    return member ?? null;
  });
}
