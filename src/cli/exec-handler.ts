/**
 * Answers calls by a shell command: the body on its standard input, files from fd 3 on, and who
 * calls in its environment. What it prints is the answer, with the files whose paths it writes to
 * SEQBUS_ANSWER_FILES. It runs in a process group of its own, which is killed when nobody waits for
 * the answer any more. Nothing else that is open here reaches it.
 */

import type { Subprocess } from "bun";
import { Memory } from "../client/memory.ts";
import { type PreparedReply, reply, type ServiceRequest } from "../client/service-request.ts";
import { LimitError, ServiceError } from "../errors.ts";
import { LARGE_BODY_BYTES_MAX } from "../protocol/limits.ts";
import { ENCODING, type Encoding } from "../protocol/opcodes.ts";
import { openFiles, PathList } from "./answer-files.ts";
import { stderr } from "./output.ts";
import { printable } from "./printable-text.ts";

/** Behind the standard streams. */
const FIRST_FILE_FD = 3;

/** Milliseconds from SIGTERM to SIGKILL. */
const KILL_AFTER_MS = 2_000;

/** Characters of standard error that are kept for its last line. */
const STDERR_KEPT = 4_096;

const ENCODING_NAMES: Readonly<Record<Encoding, string>> = {
  [ENCODING.BYTES]: "bytes",
  [ENCODING.TEXT]: "text",
  [ENCODING.JSON]: "json",
  [ENCODING.MSGPACK]: "msgpack",
};

/**
 * Runs the command for one call.
 * @param command for `sh -c`
 * @returns what it printed, as text where it is UTF-8, else as bytes; and the files that it named
 * @throws {ServiceError} EXIT_n where it ended with n, or by a signal (128 + its number); an errno
 *   where a file cannot be opened
 * @throws {LimitError} LIMIT_MESSAGE_BYTES where it printed more than a message may hold,
 *   LIMIT_MESSAGE_FDS or LIMIT_FILE_BYTES where it named more files
 */
export async function runCommand(command: string, request: ServiceRequest): Promise<PreparedReply> {
  request.signal.throwIfAborted();
  using list = new PathList();
  const output = await outputOf(command, request, list.fd);
  using files = await openFiles(list.read(), request.topic);
  const data = isUtf8(output) ? new TextDecoder().decode(output) : output;
  return reply(data, { fds: files.fds });
}

/** Runs the command to its end. @param listFd borrowed */
async function outputOf(
  command: string,
  request: ServiceRequest,
  listFd: number,
): Promise<Uint8Array> {
  const files = Array.from(request.fds, ({ fd }) => fd);
  // Bun would make such memory of bytes, too, and keep it open until its collector finds the child.
  using input = Memory.from(request.bytes);
  const child = Bun.spawn(["sh", "-c", command], {
    env: { ...process.env, ...variablesOf(request) },
    // Each file under the number of its place, whatever its number is here.
    stdio: [input.fd, "pipe", "pipe", ...files, listFd],
    // A session, and so a process group, of its own: its children are killed with it.
    detached: true,
  });
  const stop = () => killGroup(child);
  request.signal.addEventListener("abort", stop, { once: true });
  try {
    const [output, complaint, exitCode] = await Promise.all([
      collect(child.stdout, stop),
      lastLine(child.stderr),
      child.exited,
    ]);
    if (exitCode !== 0) {
      const message = complaint === "" ? `The command ended with ${exitCode}` : complaint;
      throw new ServiceError(`EXIT_${exitCode}`, message, { topic: request.topic });
    }
    return output;
  } finally {
    request.signal.removeEventListener("abort", stop);
  }
}

/** What the command may want to know; nothing of it is the caller's to choose but the encoding. */
function variablesOf(request: ServiceRequest): Record<string, string> {
  const { topic, sender, encoding, timeoutMs, fds } = request;
  return {
    SEQBUS_TOPIC: topic,
    SEQBUS_ENCODING: ENCODING_NAMES[encoding],
    SEQBUS_TIMEOUT_MS: Number.isFinite(timeoutMs) ? `${timeoutMs}` : "0",
    SEQBUS_FDS: `${fds.length}`,
    SEQBUS_ANSWER_FILES: `/proc/self/fd/${FIRST_FILE_FD + fds.length}`,
    SEQBUS_SENDER_CONNECTION: `${sender.connection}`,
    SEQBUS_SENDER_UID: `${sender.uid}`,
    SEQBUS_SENDER_GID: `${sender.gid}`,
    SEQBUS_SENDER_PID: `${sender.pid}`,
    SEQBUS_SENDER_UNIT: sender.unit ?? "",
    SEQBUS_SENDER_EXE: sender.exe ?? "",
  };
}

function killGroup(child: Subprocess): void {
  signalGroup(child.pid, "SIGTERM");
  const timer = setTimeout(() => {
    // Once it has ended its number may be another's.
    if (child.exitCode === null && child.signalCode === null) signalGroup(child.pid, "SIGKILL");
  }, KILL_AFTER_MS);
  timer.unref();
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // ESRCH: all of the group have ended.
  }
}

async function collect(stream: ReadableStream<Uint8Array>, stop: () => void): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of stream) {
    bytes += piece.byteLength;
    if (bytes > LARGE_BODY_BYTES_MAX) {
      stop();
      const limit = LARGE_BODY_BYTES_MAX;
      const message = `Cannot answer: the command printed more than ${limit} bytes`;
      throw new LimitError("LIMIT_MESSAGE_BYTES", message, { limit, actual: bytes });
    }
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** Passes standard error on, line by line, and keeps the last one. */
async function lastLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let kept = "";
  for await (const piece of stream) {
    stderr.write(piece);
    kept = (kept + decoder.decode(piece, { stream: true })).slice(-STDERR_KEPT);
  }
  return printable(kept.trimEnd().split("\n").pop() ?? "");
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
