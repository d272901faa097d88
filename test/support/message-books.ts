/**
 * Books on numbered messages, for subscribers that may lose some: each message is in order, and what is
 * missing is told where it is missing. The other half, which numbers them, is here as well.
 */

import type { Gap } from "../../src/client/gaps.ts";
import type { Message } from "../../src/client/message.ts";

/** What a subscriber got, and what it was told that it lost. */
export interface Books {
  readonly received: number;
  readonly lost: number;
  /** The first thing that was wrong. */
  readonly flaw: string | undefined;
}

/** Bodies with running numbers: one over all messages, and one for each topic. */
export class Numbering {
  sent = 0;
  readonly #byTopic = new Map<string, number>();

  /** A fresh body of at least 8 bytes. */
  body(topic: string, byteLength: number): Uint8Array {
    const number = this.#byTopic.get(topic) ?? 0;
    const body = new Uint8Array(byteLength);
    const view = new DataView(body.buffer);
    view.setUint32(0, this.sent, true);
    view.setUint32(4, number, true);
    this.#byTopic.set(topic, number + 1);
    this.sent += 1;
    return body;
  }
}

/** What one subscription notes. */
export class MessageBooks implements Books {
  received = 0;
  lost = 0;
  flaw: string | undefined;
  /** Number of the next message on each topic; unknown before the first one. */
  readonly #next = new Map<string, number>();
  #lastOverall = -1;

  noteMessage({ topic, bytes }: Message): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const [overall, number] = [view.getUint32(0, true), view.getUint32(4, true)];
    const wanted = this.#next.get(topic) ?? number;
    if (number !== wanted) this.flaw ??= `${topic}: ${number} came, ${wanted} was next`;
    if (overall <= this.#lastOverall) this.flaw ??= `${overall} came after ${this.#lastOverall}`;
    this.#next.set(topic, number + 1);
    this.#lastOverall = overall;
    this.received += 1;
  }

  noteGap({ topic, count, reason }: Gap): void {
    const wanted = topic === undefined ? undefined : this.#next.get(topic);
    if (topic === undefined || count === undefined || wanted === undefined) {
      this.flaw ??= `${count} messages of ${topic} are missing, nobody knows where: ${reason}`;
      return;
    }
    this.#next.set(topic, wanted + count);
    this.lost += count;
  }
}
