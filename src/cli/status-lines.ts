/**
 * What commands that go on say of themselves, on standard error: words for people with --verbose, and
 * with --json lines of JSON. Results are printed elsewhere, on standard output.
 */

import type { Bus } from "../client/bus.ts";
import type { StatusEvent } from "../client/status.ts";
import { toJson } from "./message-lines.ts";
import { stderr, warn } from "./output.ts";

/** Options of such a command, as commander has them. */
export interface StatusOptions {
  readonly json?: boolean;
  readonly verbose?: boolean;
}

/** Something about the command; `type` says what. */
export interface Status {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** See the head of this file. */
export class StatusLines {
  readonly #isJson: boolean;
  readonly #isVerbose: boolean;

  constructor({ json, verbose }: StatusOptions) {
    this.#isJson = json === true;
    this.#isVerbose = verbose === true;
  }

  /** What only --verbose asks for. */
  tellDetail(status: Status, words: string): void {
    if (this.#isVerbose) this.#tell(status, words);
  }

  /** That the connection was lost, or made again; nothing for other events. A program needs to know. */
  tellConnection(event: StatusEvent): void {
    if (!this.#isJson && !this.#isVerbose) return;
    const { type } = event;
    if (type === "disconnected") {
      const { error, unconfirmed } = event;
      const { message } = error;
      const code = "code" in error ? error.code : undefined;
      this.#tell({ type, code, message, unconfirmed }, `${message}; trying to connect again`);
    } else if (type === "connected") {
      const { attempts, self } = event;
      const { connection } = self;
      this.#tell({ type, attempts, connection }, `connected again, at attempt ${attempts}`);
    }
  }

  /** The same for all events of a bus, until it ends. */
  async follow(bus: Bus): Promise<void> {
    for await (const event of bus.status()) this.tellConnection(event);
  }

  #tell(status: Status, words: string): void {
    if (this.#isJson) stderr.write(`${toJson({ status })}\n`);
    else warn(words);
  }
}
