/**
 * A file system whose server does not answer when a file is closed, until it is told to: a FUSE
 * server in Python, for `await using`. Whoever closes one of its files hangs until then, the test too.
 */

import { closeSync, existsSync, mkdtempSync, openSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "./eventually.ts";

const canMount =
  process.geteuid?.() === 0 && existsSync("/dev/fuse") && Bun.which("python3") !== null;

/** Whether a test cannot have silent files, and why: for testUnless(). */
export const NO_SILENT_FILES: boolean = !canMount;
export const NO_SILENT_FILES_REASON = "needs root, /dev/fuse and python3";

/** A mounted file system and its server. */
export class SilentFiles implements AsyncDisposable {
  /** The file, borrowed. */
  readonly fd: number;
  readonly #directory: string;
  readonly #server: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #output: { text: string };

  private constructor(
    directory: string,
    server: Bun.Subprocess<"pipe", "pipe", "inherit">,
    output: { text: string },
  ) {
    this.#directory = directory;
    this.#server = server;
    this.#output = output;
    this.fd = openSync(join(directory, "file"), "r+");
  }

  /** Mounts it and opens its file. */
  static async mount(): Promise<SilentFiles> {
    const directory = mkdtempSync(join(tmpdir(), "seqbus-silent-"));
    const script = `${import.meta.dir}/silent_files.py`;
    const server = Bun.spawn(["python3", script, directory], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
    const output = { text: "" };
    void collect(server.stdout, output);
    await eventually(() => output.text.startsWith("ready\n"), "the file system is mounted");
    return new SilentFiles(directory, server, output);
  }

  /** Closes that the server has been asked for and not answered, ever. */
  get held(): number {
    return this.#output.text.split("held\n").length - 1;
  }

  /** Answers all closes from now on, and those that wait. */
  answer(): void {
    this.#server.stdin.write("answer\n");
    this.#server.stdin.flush();
  }

  /** Ends the server, which ends every wait for it, and unmounts. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.stdin.end();
    await this.#server.exited;
    closeSync(this.fd);
    rmdirSync(this.#directory);
  }
}

async function collect(stream: ReadableStream<Uint8Array>, output: { text: string }) {
  const decoder = new TextDecoder();
  for await (const chunk of stream) output.text += decoder.decode(chunk, { stream: true });
}
