/**
 * Starts this program over in the same process, with more environment variables: for settings of the
 * runtime that it reads once, before any code of ours runs. Only for the very beginning of a command:
 * nothing of this program goes on, and nothing it has begun is finished.
 */

import type { Pointer } from "bun:ffi";
import { readFileSync } from "node:fs";
import { assert } from "../assert.ts";
import { libc } from "./libc.ts";
import { PinnedBuffer } from "./pinned-buffer.ts";
import { packU64 } from "./structs.ts";

const POINTER_BYTES = 8;
const encoder = new TextEncoder();

/**
 * setenv(3), then execv(3) of the running executable, with the arguments that it was started with,
 * those of the runtime included. The pid, the directory, limits, ignored signals and fds that are not
 * close-on-exec stay; all else begins anew. What the caller's environment held goes along byte for
 * byte.
 * @param variables names and values without NUL; a name has no "=" either
 * @returns only where it cannot be done (no /proc, or the executable is gone or may not be run); the
 *   variables may be set then, which child processes see
 * @see execve(2); proc_pid_cmdline(5)
 */
export function restartProcess(variables: Readonly<Record<string, string>>): void {
  const commandLine = readCommandLine();
  if (commandLine === undefined) return;
  for (const [name, value] of Object.entries(variables)) {
    const key = packText(name);
    const setting = packText(value);
    if (libc.setenv(key.address as Pointer, setting.address as Pointer, 1) < 0) return;
  }
  const path = packText(process.execPath);
  const argumentVector = packPointers(commandLine);
  libc.execv(path.address as Pointer, argumentVector.address as Pointer);
}

/** The arguments as the kernel has them, each with its NUL; undefined where it does not tell. */
function readCommandLine(): PinnedBuffer | undefined {
  try {
    const bytes = readFileSync("/proc/self/cmdline");
    // A program that was started without any argument, not even its name, has none to hand on.
    if (bytes.at(-1) !== 0) return undefined;
    const text = new PinnedBuffer(bytes.length);
    text.bytes.set(bytes);
    return text;
  } catch {
    return undefined;
  }
}

/** An array of pointers to each of the texts, and NULL behind the last. */
function packPointers({ bytes, address }: PinnedBuffer): PinnedBuffer {
  const starts = [0];
  for (let at = bytes.indexOf(0); at + 1 < bytes.length; at = bytes.indexOf(0, at + 1)) {
    starts.push(at + 1);
  }
  const pointers = new PinnedBuffer((starts.length + 1) * POINTER_BYTES);
  for (const [index, start] of starts.entries()) {
    packU64(pointers.words, index * POINTER_BYTES, address + start);
  }
  return pointers;
}

function packText(text: string): PinnedBuffer {
  assert(!text.includes("\0"), "a text for C holds no NUL");
  const encoded = encoder.encode(text);
  const buffer = new PinnedBuffer(encoded.length + 1);
  buffer.bytes.set(encoded);
  return buffer;
}
