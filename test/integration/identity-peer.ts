/**
 * Real processes that connect to a socket of the test, so that the test can look at them as the
 * broker does. The listener is a bare one, without a broker: what counts is the kernel's word.
 */

import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OwnedFd } from "../../src/ffi/owned-fd.ts";
import type { TargetCredentials } from "../../src/ffi/process-credentials.ts";
import { acceptConnection, bindPath, listen, openSeqpacket } from "../../src/ffi/seqpacket.ts";
import { enablePacketCredentials } from "../../src/ffi/socket-options.ts";

/** What a peer does. */
export interface PeerPlan {
  /** Where it connects; left out for a process that gets a connected socket as fd 3. */
  readonly path?: string;
  /** Whom it becomes for good before it connects. */
  readonly become?: TargetCredentials;
  /** The same, after it has connected. */
  readonly becomeLater?: TargetCredentials;
  /** Its effective uid while it connects and sends; its real one stays root. */
  readonly effectiveUid?: number;
  /** How many packets it sends. */
  readonly packets?: number;
  /** Start another process that sends one packet on the same socket. */
  readonly handOn?: boolean;
  /** End after connecting; otherwise it stays until the other side closes. */
  readonly exit?: boolean;
}

/** A process that has connected. */
export interface Peer extends AsyncDisposable {
  readonly pid: number;
  /** The process it handed its socket on to. */
  readonly childPid: number | undefined;
  readonly exited: Promise<number>;
}

/** Starts a peer and waits until it has done what the plan says. `command` is put before it. */
export async function startPeer(plan: PeerPlan, command: readonly string[] = []): Promise<Peer> {
  const script = `${import.meta.dir}/identity-peer-fixture.ts`;
  const child = Bun.spawn([...command, process.execPath, script, JSON.stringify(plan)], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const line = await linesOf(child.stdout).next();
  const { pid, childPid } = JSON.parse(line.value ?? "{}");
  const stop = async () => {
    child.kill("SIGKILL");
    await child.exited;
  };
  return { pid, childPid, exited: child.exited, [Symbol.asyncDispose]: stop };
}

/** The lines of a stream as they come, without their line feeds. */
export async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

/** A listening socket that every uid may connect to, in a directory of its own. */
export class PeerListener {
  readonly #directory = mkdtempSync(join(tmpdir(), "seqbus-identity-"));
  readonly #socket = OwnedFd.adopt(openSeqpacket());
  readonly path = join(this.#directory, "bus");

  constructor(options: { packetCredentials?: boolean } = {}) {
    chmodSync(this.#directory, 0o755);
    bindPath(this.#socket.number, this.path);
    chmodSync(this.path, 0o666);
    if (options.packetCredentials === true) enablePacketCredentials(this.#socket.number);
    listen(this.#socket.number, 8);
  }

  /** The connection of a peer that startPeer() has returned; owned by the caller. */
  accept(): OwnedFd {
    return OwnedFd.adopt(acceptConnection(this.#socket.number));
  }

  [Symbol.dispose](): void {
    this.#socket.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
