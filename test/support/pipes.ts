/** Pipes, which node:fs cannot make. */

import { dlopen } from "bun:ffi";
import { libcNames } from "../../src/ffi/libc.ts";

const O_CLOEXEC = 0o2000000;
const numbers = new Int32Array(new ArrayBuffer(8));
const libc = openLibc();

function openLibc() {
  const symbols = { pipe2: { args: ["ptr", "i32"], returns: "i32" } } as const;
  const [glibc, musl] = libcNames(process.platform, process.arch);
  try {
    return dlopen(String(glibc), symbols).symbols;
  } catch {
    return dlopen(String(musl), symbols).symbols;
  }
}

/** pipe2(2). @returns two blocking ends, which are the caller's */
export function openPipe(): { reader: number; writer: number } {
  if (libc.pipe2(numbers, O_CLOEXEC) !== 0) throw new Error("Cannot make a pipe");
  const [reader = -1, writer = -1] = numbers;
  return { reader, writer };
}
