/** Files whose fds tests pass around, and what fds turn out to hold. */

import { fstatSync, readSync, writeSync } from "node:fs";
import { F_GETFD, FD_CLOEXEC } from "../../src/ffi/constants.ts";
import { libc } from "../../src/ffi/libc.ts";
import { createMemfd } from "../../src/ffi/memfd.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";

/** Open memfds, each holding its own text; closed at the end of a `using` block. */
export class TestFiles implements Disposable {
  /** Borrowed. */
  readonly fds: readonly number[];

  /** @param texts one for each file */
  constructor(texts: readonly string[]) {
    this.fds = texts.map((text) => {
      const fd = createMemfd("seqbus-test");
      writeSync(fd, text, 0);
      return fd;
    });
  }

  [Symbol.dispose](): void {
    for (const fd of this.fds) closeFd(fd);
  }
}

/** Texts that tell files apart: "PREFIX 0", "PREFIX 1" and so on. */
export function numberedTexts(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix} ${index}`);
}

/** Everything that an fd holds, as text. @param fd borrowed */
export function readText(fd: number): string {
  const bytes = new Uint8Array(fstatSync(fd).size);
  readSync(fd, bytes, 0, bytes.byteLength, 0);
  return new TextDecoder().decode(bytes);
}

/** What each fd holds. @param fds owned; closed here */
export function takeTexts(fds: readonly number[]): string[] {
  const texts = fds.map(readText);
  for (const fd of fds) closeFd(fd);
  return texts;
}

/** Whether exec(2) would close it. @param fd borrowed */
export function isCloseOnExec(fd: number): boolean {
  const flags = libc.fcntl(fd, F_GETFD, 0);
  return flags >= 0 && (flags & FD_CLOEXEC) !== 0;
}
