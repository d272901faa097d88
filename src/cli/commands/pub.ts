/** `seqbus pub`: publishes one message, with open files if wished, and waits until it is routed. */

import { closeSync, openSync } from "node:fs";
import { constants } from "node:os";
import type { EncodingName } from "../../client/body-codec.ts";
import { connect } from "../../client/connect.ts";
import type { Receipt } from "../../client/receipts.ts";
import { ArgumentError, LimitError, SyscallError } from "../../errors.ts";
import { LARGE_BODY_BYTES_MAX } from "../../protocol/limits.ts";
import { parseExactJson } from "../exact-json.ts";
import { EXIT, isOperatingError } from "../exit-codes.ts";
import { stdout, warn } from "../output.ts";

/** Options of the command, as commander has them. */
export interface PubCommandOptions {
  readonly socket?: string;
  readonly json?: boolean;
  readonly text?: boolean;
  readonly bytes?: boolean;
  /** Paths of files to attach. */
  readonly file: readonly string[];
}

/**
 * Publishes.
 * @param data undefined or "-": read from standard input
 * @returns the exit code
 * @throws {RejectedError} REJECTED_BY_POLICY, and everything else that connect(), publish() and
 *   flush() throw; errors of node:fs for the files
 */
export async function runPub(
  topic: string,
  data: string | undefined,
  options: PubCommandOptions,
): Promise<number> {
  const encoding = encodingOf(options);
  const fds: number[] = [];
  try {
    for (const path of options.file) fds.push(openFile(path));
    const body = decodeInput(await readInput(data, fds.length > 0), encoding);
    await using bus = await connect(options.socket === undefined ? {} : { path: options.socket });
    bus.publish(topic, body, { encoding, fds });
    report(await bus.flush());
  } finally {
    for (const fd of fds) closeSync(fd);
  }
  return EXIT.OK;
}

/** open(2) O_RDONLY. Opening a FIFO waits for its writer, as it does in cat(1). */
function openFile(path: string): number {
  try {
    return openSync(path, "r");
  } catch (cause) {
    if (!isOperatingError(cause)) throw cause;
    const { code } = cause;
    const fields = { code, errno: errnoOf(code), syscall: "open", path };
    throw new SyscallError(`Cannot open ${path}: ${code}`, fields, { cause });
  }
}

function errnoOf(code: string): number {
  return (constants.errno as Readonly<Record<string, number>>)[code] ?? 0;
}

function encodingOf(options: PubCommandOptions): EncodingName {
  if (options.json === true) return "json";
  return options.bytes === true ? "bytes" : "text";
}

async function readInput(data: string | undefined, hasFiles: boolean): Promise<Uint8Array> {
  if (data !== undefined && data !== "-") return new TextEncoder().encode(data);
  // Who passes files from a terminal has said all there is to say.
  if (data === undefined && hasFiles && process.stdin.isTTY) return new Uint8Array();
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
      "save it and pass it with --file",
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
