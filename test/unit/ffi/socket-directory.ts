/** A temporary directory for the sockets of a test, which every uid may enter. */

import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Removed with all it holds at the end of a `using` block. */
export class SocketDirectory {
  readonly path = mkdtempSync(join(tmpdir(), "seqbus-ffi-"));

  constructor() {
    chmodSync(this.path, 0o755);
  }

  /** The path of a file in it. */
  file(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
