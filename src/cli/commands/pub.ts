/** `seqbus pub`: publishes one message, with open files if wished, and waits until it is routed. */

import { closeSync, openSync } from "node:fs";
import type { EncodingName } from "../../client/body-codec.ts";
import type { Receipt } from "../../client/bus.ts";
import { connect } from "../../client/connect.ts";
import { streamOf } from "../../client/fd-reader.ts";
import { LentFd } from "../../client/lent-fd.ts";
import { Memory } from "../../client/memory.ts";
import type { FdLike, PublishOptions } from "../../client/publisher.ts";
import { ArgumentError, LimitError } from "../../errors.ts";
import { LARGE_BODY_BYTES_MAX } from "../../protocol/limits.ts";
import { parseExactJson } from "../exact-json.ts";
import { EXIT } from "../exit-codes.ts";
import { fileError } from "../file-error.ts";
import { stdout, warn } from "../output.ts";

/** Options of the command, as commander has them. */
export interface PubCommandOptions {
  readonly socket?: string;
  readonly json?: boolean;
  readonly text?: boolean;
  readonly bytes?: boolean;
  readonly retain?: boolean;
  /** Milliseconds. */
  readonly retainFor?: string;
  readonly clear?: boolean;
  readonly attachments: readonly Attachment[];
}

/** A file to pass along: as it is, or what it holds, in sealed memory. */
export interface Attachment {
  readonly how: "file" | "memfd";
  /** "-" for standard input, of a memfd. */
  readonly path: string;
}

/** Bytes of a --memfd. Guess: more than this is no message any more, and nobody's memory is endless. */
const MEMFD_BYTES_MAX = 1024 * 1024 * 1024;

/**
 * Publishes, or with `clear` lets the broker forget the last value of the topic.
 * @param data undefined or "-": read from standard input
 * @returns the exit code
 * @throws {RejectedError} REJECTED_BY_POLICY, and everything else that connect(), publish() and
 *   flush() throw
 * @throws {LimitError} LIMIT_FILE_BYTES for a memfd
 * @throws {ArgumentError} ARGUMENT_OPTION where standard input is wanted twice, for a wrong
 *   `retainFor`, and for data where there is nothing to publish
 */
export async function runPub(
  topic: string,
  data: string | undefined,
  options: PubCommandOptions,
): Promise<number> {
  if (options.clear === true) return await clearRetained(topic, data, options);
  const encoding = encodingOf(options);
  const retention = retentionOf(options);
  const { attachments } = options;
  checkInputs(data, attachments);
  using opened = new DisposableStack();
  const fds: FdLike[] = [];
  for (const attachment of attachments) {
    fds.push(opened.use(await openAttachment(attachment)));
  }
  const body = decodeInput(await readInput(data, attachments), encoding);
  await using bus = await connect(options.socket === undefined ? {} : { path: options.socket });
  bus.publish(topic, body, { encoding, fds, ...retention });
  report(await bus.flush());
  return EXIT.OK;
}

async function clearRetained(
  topic: string,
  data: string | undefined,
  { socket }: PubCommandOptions,
): Promise<number> {
  if (data !== undefined) {
    const message = "Cannot publish the data: --clear publishes nothing";
    throw new ArgumentError("ARGUMENT_OPTION", message, "clear");
  }
  await using bus = await connect(socket === undefined ? {} : { path: socket });
  const isCleared = await bus.clearRetained(topic);
  if (stdout.isTerminal) stdout.write(isCleared ? "cleared\n" : "nothing was kept\n");
  return EXIT.OK;
}

function retentionOf(options: PubCommandOptions): Pick<PublishOptions, "retain" | "retainFor"> {
  const { retain = false, retainFor } = options;
  if (retainFor === undefined) return { retain };
  if (/^[0-9]+$/.test(retainFor)) return { retain: true, retainFor: Number(retainFor) };
  const message = `Cannot keep the message for "${retainFor}": --retain-for wants milliseconds`;
  throw new ArgumentError("ARGUMENT_OPTION", message, "retain-for");
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

function encodingOf(options: PubCommandOptions): EncodingName {
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
    if (bytes > LARGE_BODY_BYTES_MAX) throw tooMuchInput();
  }
  return Buffer.concat(chunks);
}

function tooMuchInput(): LimitError {
  return new LimitError(
    "LIMIT_MESSAGE_BYTES",
    `Cannot publish standard input: it has more than ${LARGE_BODY_BYTES_MAX} bytes; ` +
      "pass it with --memfd -, or save it and pass it with --file",
    { limit: LARGE_BODY_BYTES_MAX },
  );
}

/** @throws {ArgumentError} ARGUMENT_DATA where the bytes are not what was promised */
function decodeInput(bytes: Uint8Array, encoding: EncodingName): unknown {
  if (encoding === "bytes") return bytes;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw unfit("it is not UTF-8; publish it with --bytes");
  }
  if (encoding === "text") return text;
  try {
    return parseExactJson(text);
  } catch (error) {
    throw unfit(`it is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function unfit(why: string): ArgumentError {
  return new ArgumentError("ARGUMENT_DATA", `Cannot publish the data: ${why}`, "data");
}

function report({ matched, delivered, dropped }: Receipt): void {
  if (dropped > 0) warn(`${dropped} of ${matched} subscribers missed it: their queues are full`);
  if (!stdout.isTerminal) return;
  const subscribers = delivered === 1 ? "1 subscriber" : `${delivered} subscribers`;
  stdout.write(`delivered to ${delivered === 0 ? "nobody: no one subscribes" : subscribers}\n`);
}
