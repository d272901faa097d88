/**
 * What became of published messages, as the broker counts it: summed since the last flush, or for one
 * publish. The broker counts from SYNC to SYNC, so a receipt for one message puts a SYNC on either
 * side of it; what these count is kept for the next flush.
 */

import { decodeSyncAck, type SyncAck } from "../protocol/control-messages.ts";
import type { Publisher } from "./publisher.ts";

/** What became of messages. */
export interface Receipt {
  /** Messages that the broker took. */
  readonly published: number;
  /** Pairs of a message and a client subscribed to it: `delivered` + `dropped`. */
  readonly matched: number;
  /** Of these: handed to the subscriber's socket, or put into its queue in the broker. */
  readonly delivered: number;
  /** Of the delivered: put behind others, because that subscriber reads slowly. */
  readonly queued: number;
  /** Of the matched: not delivered, because that subscriber's queue was full. It is told. */
  readonly dropped: number;
  /** Messages that the broker refused. */
  readonly denied: number;
}

const NOTHING: Receipt = {
  published: 0,
  matched: 0,
  delivered: 0,
  queued: 0,
  dropped: 0,
  denied: 0,
};

/** Refusals while one message is on its way. */
interface Watch {
  denial: Error | undefined;
  /** Refusals that this program's own publisher finds. */
  isLocalOpen: boolean;
  /** Refusals that come from the broker. */
  isWireOpen: boolean;
}

/** Keeps receipts. */
export class Receipts {
  readonly #publisher: Publisher;
  readonly #sync: () => Promise<Uint8Array>;
  readonly #watches = new Set<Watch>();
  #sum: Receipt = NOTHING;
  #firstDenial: Error | undefined;
  /** Something was published since the last SYNC was asked for. */
  #isDirty = false;

  /** @param sync asks the broker; resolves with the body of the ACK */
  constructor(publisher: Publisher, sync: () => Promise<Uint8Array>) {
    this.#publisher = publisher;
    this.#sync = sync;
  }

  /** A message was published without a receipt. */
  notePublished(): void {
    this.#isDirty = true;
  }

  /** Messages were refused. @param isFromBroker or found by the publisher, before they were sent */
  noteDenied(error: Error, isFromBroker: boolean): void {
    for (const watch of this.#watches) {
      if (isFromBroker ? !watch.isWireOpen : !watch.isLocalOpen) continue;
      watch.denial ??= error;
      return;
    }
    this.#firstDenial ??= error;
  }

  /** Asks for everything since the last time. @throws the first refusal since then */
  async flush(): Promise<Receipt> {
    await this.#ask();
    const sum = this.#sum;
    const denial = this.#firstDenial;
    this.#sum = NOTHING;
    this.#firstDenial = undefined;
    if (denial !== undefined) throw denial;
    return sum;
  }

  /**
   * Publishes one message and asks what became of it.
   * @param publish does it
   * @throws what publish() throws, or why the message was refused
   */
  async around(publish: () => void): Promise<Receipt> {
    const watch: Watch = { denial: undefined, isLocalOpen: false, isWireOpen: !this.#isDirty };
    const before = this.#isDirty ? this.#ask() : undefined;
    before?.then(
      () => {
        watch.isWireOpen = true;
      },
      () => {},
    );
    this.#watches.add(watch);
    try {
      this.#publisher.barrier(() => {
        watch.isLocalOpen = true;
      });
      publish();
      this.#publisher.barrier(() => {
        watch.isLocalOpen = false;
      });
      const receipt = await this.#ask();
      if (watch.denial !== undefined) throw watch.denial;
      return receipt;
    } finally {
      this.#watches.delete(watch);
    }
  }

  /** One SYNC behind all that was published. @returns what it counts, which is in the sum as well */
  async #ask(): Promise<Receipt> {
    this.#isDirty = false;
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    this.#publisher.barrier(() => void this.#sync().then(resolve, reject));
    const body = await promise;
    const receipt = receiptOf(decodeSyncAck(body, 0, body.byteLength));
    this.#sum = add(this.#sum, receipt);
    return receipt;
  }
}

function receiptOf(ack: SyncAck): Receipt {
  const { published, matched, delivered, queued, dropped, denied } = ack;
  return { published, matched, delivered, queued, dropped, denied };
}

function add(a: Receipt, b: Receipt): Receipt {
  return {
    published: a.published + b.published,
    matched: a.matched + b.matched,
    delivered: a.delivered + b.delivered,
    queued: a.queued + b.queued,
    dropped: a.dropped + b.dropped,
    denied: a.denied + b.denied,
  };
}
