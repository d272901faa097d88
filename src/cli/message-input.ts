/**
 * What a command sends: its argument or standard input, and the files that go along. The same for
 * all commands that send.
 */

import { closeSync, openSync } from "node:fs";
import type { EncodingName } from "../client/body-codec.ts";
import { streamOf } from "../client/fd-reader.ts";
import { LentFd } from "../client/lent-fd.ts";
import { Memory } from "../client/memory.ts";
import type { FdLike } from "../client/outgoing-body.ts";
import { ArgumentError, LimitError } from "../errors.ts";
import { LARGE_BODY_BYTES_MAX } from "../protocol/limits.ts";
import { parseExactJson } from "./exact-json.ts";
import { fileError } from "./file-error.ts";

/** Options of such a command, as commander has them. */
export interface InputOptions {
  readonly json?: boolean;
  readonly text?: boolean;
  readonly bytes?: boolean;
  readonly attachments: readonly Attachment[];
}

/** The same, and what asks for JSON as output: --json does not, which some expect. */
export interface InputChoices extends InputOptions {
  readonly jsonOutputOption: string;
}

/** A file to pass along: as it is, or what it holds, in sealed memory. */
export interface Attachment {
  readonly how: "file" | "memfd";
  /** "-" for standard input, of a memfd. */
  readonly path: string;
}

/** Bytes of a --memfd. Guess: more than this is no message any more, and nobody's memory is endless. */
const MEMFD_BYTES_MAX = 1024 * 1024 * 1024;

/** Ready to be sent; its files are open until it is disposed of. */
export interface MessageInput extends Disposable {
  readonly data: unknown;
  readonly encoding: EncodingName;
  readonly fds: readonly FdLike[];
}

/**
 * Reads the data and opens the files.
 * @param data undefined or "-": read from standard input
 * @throws {ArgumentError} ARGUMENT_DATA; ARGUMENT_OPTION where standard input is wanted twice
 * @throws {LimitError} LIMIT_MESSAGE_BYTES; LIMIT_FILE_BYTES for a memfd
 * @throws {SyscallError} for a file that cannot be opened
 */
export async function openInput(
  data: string | undefined,
  options: InputChoices,
): Promise<MessageInput> {
  const encoding = encodingOf(options);
  const { attachments, jsonOutputOption } = options;
  checkInputs(data, attachments);
  using opened = new DisposableStack();
  const fds: FdLike[] = [];
  for (const attachment of attachments) {
    fds.push(opened.use(await openAttachment(attachment)));
  }
  const body = decodeInput(await readInput(data, attachments), encoding, jsonOutputOption);
  const files = opened.move();
  return { data: body, encoding, fds, [Symbol.dispose]: () => files.dispose() };
}

function readsInput({ how, path }: Attachment): boolean {
  return how === "memfd" && path === "-";
}

function checkInputs(data: string | undefined, attachments: readonly Attachment[]): void {
  const readers = attachments.filter(readsInput).length + (data === "-" ? 1 : 0);
  if (readers < 2) return;
  const message = `Cannot read standard input ${readers} times: - may stand for it once`;
  throw new ArgumentError("ARGUMENT_OPTION", message, "memfd");
}

/** @returns the caller's to dispose of */
async function openAttachment(attachment: Attachment): Promise<Disposable & { fd: number }> {
  const { how, path } = attachment;
  if (how === "file") {
    const fd = openFile(path);
    return { fd, [Symbol.dispose]: () => closeSync(fd) };
  }
  const source = readsInput(attachment) ? Bun.stdin.stream() : streamOf(new LentFd(openFile(path)));
  return (await Memory.fill(source, { bytesMax: MEMFD_BYTES_MAX })).seal();
}

/** open(2) O_RDONLY. Opening a FIFO waits for its writer, as it does in cat(1). */
function openFile(path: string): number {
  try {
    return openSync(path, "r");
  } catch (cause) {
    throw fileError(cause, "open", path);
  }
}

function encodingOf(options: InputOptions): EncodingName {
  if (options.json === true) return "json";
  return options.bytes === true ? "bytes" : "text";
}

async function readInput(
  data: string | undefined,
  attachments: readonly Attachment[],
): Promise<Uint8Array> {
  if (data !== undefined && data !== "-") return new TextEncoder().encode(data);
  if (attachments.some(readsInput)) return new Uint8Array();
  // Who passes files from a terminal has said all there is to say.
  if (data === undefined && attachments.length > 0 && process.stdin.isTTY) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of Bun.stdin.stream()) {
    chunks.push(chunk);
    bytes += chunk.byteLength;
    if (bytes > LARGE_BODY_BYTES_MAX) throw tooMuchInput(bytes);
  }
  return Buffer.concat(chunks);
}

function tooMuchInput(bytes: number): LimitError {
  return new LimitError(
    "LIMIT_MESSAGE_BYTES",
    `Cannot send standard input: it has more than ${LARGE_BODY_BYTES_MAX} bytes; ` +
      "pass it with --memfd -, or save it and pass it with --file",
    { limit: LARGE_BODY_BYTES_MAX, actual: bytes },
  );
}

/** @throws {ArgumentError} ARGUMENT_DATA where the bytes are not what was promised */
function decodeInput(bytes: Uint8Array, encoding: EncodingName, jsonOutputOption: string): unknown {
  if (encoding === "bytes") return bytes;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw unfit("it is not UTF-8; send it with --bytes");
  }
  if (encoding === "text") return text;
  try {
    return parseExactJson(text);
  } catch (error) {
    const flaw = error instanceof Error ? error.message : String(error);
    throw unfit(`it is not JSON: ${flaw}; for JSON as output alone use ${jsonOutputOption}`);
  }
}

function unfit(why: string): ArgumentError {
  return new ArgumentError("ARGUMENT_DATA", `Cannot send the data: ${why}`, "data");
}
