/**
 * Everything about services of one bus: calls, serving, watches and channels, and the frames that
 * are for them.
 */

import type { RejectedError } from "../errors.ts";
import { fdCountOf, flagsOf, opcodeOf } from "../protocol/frame.ts";
import { FRAME_HEADER_BYTES } from "../protocol/limits.ts";
import { FLAG_STREAM, OPCODE } from "../protocol/opcodes.ts";
import {
  decodeChannelBody,
  decodeCreditToClient,
  decodeOwnershipBody,
  decodeServiceBody,
} from "../protocol/service-messages.ts";
import { Calls } from "./calls.ts";
import { Channels } from "./channels.ts";
import { takeBody } from "./received-body.ts";
import type { Restorable } from "./restorable.ts";
import { Server } from "./server.ts";
import type { ServiceLink } from "./service-link.ts";
import { Watches } from "./service-watch.ts";

/** Opcodes of frames that onFrame() takes. */
export const SERVICE_OPCODES: ReadonlySet<number> = new Set([
  OPCODE.REQUEST,
  OPCODE.REPLY,
  OPCODE.CANCEL,
  OPCODE.CREDIT,
  OPCODE.SERVICE,
  OPCODE.OWNERSHIP,
  OPCODE.CHANNEL,
]);

/** See the head of this file. */
export class Services implements Restorable {
  readonly calls: Calls;
  readonly server: Server;
  readonly watches: Watches;
  readonly channels: Channels;
  readonly #link: ServiceLink;
  readonly #takeLaneFds: (count: number) => number[];

  constructor(link: ServiceLink) {
    this.#link = link;
    this.#takeLaneFds = (count) => link.takeLaneFds(count);
    this.server = new Server(link);
    this.watches = new Watches(link);
    this.calls = new Calls(link, (name, signal) =>
      this.watches.waitFor(name, { timeoutMs: Number.POSITIVE_INFINITY, signal }),
    );
    this.channels = new Channels(link, this.server);
  }

  /**
   * Takes one frame whose header was checked.
   * @param packet kept by what is made of it
   * @throws {ProtocolError} the broker broke the protocol: close the bus
   */
  onFrame(packet: Uint8Array, words: Uint32Array, at: number): void {
    const word = at >>> 2;
    const kind = words[word + 1] as number;
    const id = words[word + 2] as number;
    const start = at + FRAME_HEADER_BYTES;
    const end = at + (words[word] as number);
    switch (opcodeOf(kind)) {
      case OPCODE.REQUEST:
        return this.#request(packet, words, at);
      case OPCODE.REPLY: {
        const body = takeBody(packet, words, at, this.#takeLaneFds);
        return this.calls.onReply(id, flagsOf(kind), words[word + 3] as number, body);
      }
      case OPCODE.CANCEL:
        return this.server.onCancel(id, flagsOf(kind));
      case OPCODE.CREDIT:
        return this.server.onCredit(id, decodeCreditToClient(packet, start, end).count);
      case OPCODE.SERVICE:
        return this.watches.onService(id, decodeServiceBody(packet, start, end));
      case OPCODE.OWNERSHIP:
        return this.server.onOwnership(id, decodeOwnershipBody(packet, start, end));
      default: {
        const body = decodeChannelBody(packet, start, end);
        this.channels.onChannel(id, body, this.#link.takeLaneFds(fdCountOf(kind)));
      }
    }
  }

  /** Restorable */
  onLost(): void {
    this.calls.onLost();
    this.server.onLost();
    this.watches.onLost();
  }

  /** Restorable */
  async restore(): Promise<void> {
    await this.server.restore();
    await this.watches.restore();
    this.calls.restore();
  }

  /** Restorable */
  async retire(): Promise<void> {
    this.watches.end(undefined);
    await Promise.all([this.server.retire(), this.calls.retire()]);
  }

  /** The policy took a right away. @param action as the policy file calls it */
  revoke(action: string, name: string, error: RejectedError): void {
    if (action === "serve") this.server.revoke(name, error);
    else if (action === "call") this.watches.revoke(name, error);
  }

  /**
   * The bus has ended.
   * @param reason undefined where the program wished it
   * @param error why whatever is under way ends
   */
  end(reason: Error | undefined, error: Error): void {
    this.calls.end(error);
    this.server.end(reason, error);
    this.watches.end(reason);
    this.#link.deadlines.clear();
  }

  #request(packet: Uint8Array, words: Uint32Array, at: number): void {
    const word = at >>> 2;
    const prefix = (at + FRAME_HEADER_BYTES) >>> 2;
    const flags = flagsOf(words[word + 1] as number);
    this.server.onRequest({
      serviceId: words[word + 2] as number,
      sender: this.#link.senderOf(words[word + 3] as number),
      call: words[prefix] as number,
      timeoutMs: words[prefix + 1] as number,
      isStream: (flags & FLAG_STREAM) !== 0,
      body: takeBody(packet, words, at, this.#takeLaneFds),
    });
  }
}
