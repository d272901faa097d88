/**
 * What became of published messages, as the broker counts it: summed since the last flush, or for one
 * publish. The broker counts from SYNC to SYNC, so a receipt for one message puts a SYNC on either
 * side of it; what these count is kept for the next flush.
 *
 * A SYNC vouches for all messages before it, so a lost connection ends the flushes that cannot any
 * more, and every receipt for one message.
 */

import { ClosedError, LimitError, RejectedError, TimeoutError } from "../errors.ts";
import { decodeSyncAck, type SyncAck } from "../protocol/control-messages.ts";
import { FLAG_WAIT_FDS, OPCODE } from "../protocol/opcodes.ts";
import type { DeniedReceipt, PublishReceipt, Receipt } from "../receipt.ts";
import type { Link } from "./link.ts";
import type { Publisher } from "./publisher.ts";

const NOTHING: Receipt = {
  published: 0,
  matched: 0,
  delivered: 0,
  queued: 0,
  dropped: 0,
  denied: 0,
  lostLater: 0,
  superseded: 0,
  fdsWaiting: 0,
  fdsExpired: 0,
};

/** Why messages were refused. */
type Denial = RejectedError | LimitError;

/** Refusals while one message is on its way. */
class Watch {
  denial: Error | undefined;
  /** Messages that the broker has never seen: it refused their topic. */
  refusedHere = 0;
  /** Refusals that this program's own publisher finds. */
  isLocalOpen = false;
  /** Refusals that come from the broker. */
  isWireOpen: boolean;

  constructor(isWireOpen: boolean) {
    this.isWireOpen = isWireOpen;
  }
}

/** A SYNC that is to be sent, or to be answered. */
interface Ask {
  /** Called within the packet that holds the answer; what it counts is in the sum by then. */
  readonly onReceipt: (receipt: Receipt) => void;
  readonly reject: (error: Error) => void;
  /** It goes on with the next connection, where nothing was lost. */
  readonly isFlush: boolean;
  /** Of SYNC. */
  readonly flags?: number;
}

/** Keeps receipts. */
export class Receipts {
  readonly #link: Link;
  readonly #publisher: Publisher;
  readonly #whyUnread: () => string;
  readonly #watches = new Set<Watch>();
  readonly #pending = new Set<Ask>();
  /** Of these: something will call #sync() for it, or it is asked for. */
  readonly #underWay = new WeakSet<Ask>();
  #sum: Receipt = NOTHING;
  /** As in Watch, and not in the sum yet. */
  #refusedHere = 0;
  #firstDenial: Error | undefined;
  /** Something was published since the last SYNC was asked for. */
  #isDirty = false;
  /** Messages of this connection that a SYNC has vouched for. */
  #confirmed = 0;
  /** Lost with a connection, and not told to any flush yet. */
  #lost = 0;

  /** @param whyUnread see ServiceLink */
  constructor(link: Link, publisher: Publisher, whyUnread: () => string) {
    this.#whyUnread = whyUnread;
    this.#link = link;
    this.#publisher = publisher;
  }

  /** A message was published without a receipt. */
  notePublished(): void {
    this.#isDirty = true;
  }

  /** Messages were refused. @param isFromBroker or found by the publisher, before they were sent */
  noteDenied(error: Error, isFromBroker: boolean): void {
    // The broker counts what it has seen.
    if (!isFromBroker) this.#refusedHere += 1;
    for (const watch of this.#watches) {
      if (isFromBroker ? !watch.isWireOpen : !watch.isLocalOpen) continue;
      watch.denial ??= error;
      if (!isFromBroker) watch.refusedHere += 1;
      return;
    }
    this.#firstDenial ??= error;
  }

  /** See Bus.flush(). */
  async flush(timeoutMs: number, untilFdsTaken = false): Promise<Receipt> {
    if (this.#link.isClosed) throw this.#link.closedError();
    if (this.#lost > 0) throw this.#takeLoss();
    const { promise, resolve, reject } = Promise.withResolvers<Receipt>();
    const startedAt = performance.now();
    const timer = setTimeout(() => {
      const elapsed = Math.round(performance.now() - startedAt);
      const time = `Cannot flush: the broker did not confirm it within ${timeoutMs} ms`;
      const message = `${time}${this.#whyUnread()}`;
      reject(new TimeoutError("TIMEOUT_FLUSH", message, elapsed));
    }, timeoutMs);
    const onReceipt = () => {
      const denial = this.#firstDenial;
      this.#firstDenial = undefined;
      if (denial === undefined) resolve(this.#takeSum());
      else if (isDenial(denial)) reject(withReceipt(denial, this.#takeSum()));
      // It cannot carry the figures; they are left to the next flush.
      else reject(denial);
    };
    const flags = untilFdsTaken ? FLAG_WAIT_FDS : 0;
    const ask = this.#ask({ onReceipt, reject, isFlush: true, flags });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#pending.delete(ask);
    }
  }

  /**
   * Publishes one message and asks what became of it.
   * @param publish does it
   * @throws what publish() throws, or why the message was refused
   * @throws {ClosedError} CLOSED_DISCONNECTED where there is no connection, and nothing was published;
   *   or where it was lost meanwhile, and what became of the message is not known
   */
  async around(publish: () => void): Promise<PublishReceipt> {
    if (this.#link.isClosed) throw this.#link.closedError();
    if (!this.#link.isConnected) throw this.#link.disconnectedError();
    const watch = new Watch(!this.#isDirty);
    const { promise, resolve, reject } = Promise.withResolvers<PublishReceipt>();
    if (this.#isDirty) this.#open(watch);
    this.#watches.add(watch);
    // What was lost since the last SYNC were other messages.
    const onReceipt = ({ lostLater: _, superseded: __, ...receipt }: Receipt) => {
      this.#watches.delete(watch);
      const { denial, refusedHere } = watch;
      const denied = receipt.denied + refusedHere;
      if (denial === undefined) resolve(receipt);
      else reject(isDenial(denial) ? withReceipt(denial, { ...receipt, denied }) : denial);
    };
    try {
      this.#publisher.barrier(() => {
        watch.isLocalOpen = true;
      });
      publish();
      this.#publisher.barrier(() => {
        watch.isLocalOpen = false;
      });
      this.#ask({ onReceipt, reject, isFlush: false });
      return await promise;
    } finally {
      this.#watches.delete(watch);
    }
  }

  /** Messages that were sent over this connection, and that no flush or receipt has vouched for. */
  get unconfirmed(): number {
    return this.#link.outbound.messageCount - this.#confirmed;
  }

  /** Whether the next flush rejects because messages may be lost. */
  get hasLoss(): boolean {
    return this.#lost > 0;
  }

  /** The connection is lost. @param lost messages that may be */
  noteLost(lost: number): void {
    this.#confirmed = 0;
    this.#lost += lost;
    // What is kept for the next connection is counted there.
    this.#isDirty = true;
    this.#rejectEach((ask) => !ask.isFlush, this.#unknownError());
    const hasFlush = this.#pending.size > 0;
    if (this.#lost > 0 && hasFlush) this.#rejectEach(() => true, this.#takeLoss());
  }

  /** There is a connection again: asks there for flushes that lost nothing. */
  resume(): void {
    for (const ask of this.#pending) this.#begin(ask);
  }

  /** The end. */
  rejectAll(error: Error): void {
    this.#rejectEach(() => true, error);
  }

  #takeSum(): Receipt {
    const sum = { ...this.#sum, denied: this.#sum.denied + this.#refusedHere };
    this.#sum = NOTHING;
    this.#refusedHere = 0;
    return sum;
  }

  /** Refusals of the broker are a message's from the next SYNC on. */
  #open(watch: Watch): void {
    const onReceipt = () => {
      watch.isWireOpen = true;
    };
    this.#ask({ onReceipt, reject: () => {}, isFlush: false });
  }

  /** One SYNC behind all that was published. */
  #ask(ask: Ask): Ask {
    this.#isDirty = false;
    this.#pending.add(ask);
    this.#begin(ask);
    return ask;
  }

  #begin(ask: Ask): void {
    if (this.#underWay.has(ask) || !this.#link.isConnected) return;
    this.#underWay.add(ask);
    this.#publisher.barrier(() => void this.#sync(ask));
  }

  async #sync(ask: Ask): Promise<void> {
    if (!this.#pending.has(ask)) return;
    const vouchedFor = this.#link.outbound.messageCount;
    const take = (body: Uint8Array) => this.#take(ask, body, vouchedFor);
    try {
      await this.#link.ask(OPCODE.SYNC, undefined, take, "once", ask.flags);
    } catch (error) {
      this.#underWay.delete(ask);
      // A flush that the loss of the connection has not ended goes on with the next one.
      if (!this.#link.isConnected && !this.#link.isClosed) return;
      this.#pending.delete(ask);
      ask.reject(error as Error);
    }
  }

  /** An answer came, though it may be too late for whoever asked. */
  #take(ask: Ask, body: Uint8Array, vouchedFor: number): void {
    const receipt = receiptOf(decodeSyncAck(body, 0, body.byteLength));
    this.#confirmed = Math.max(this.#confirmed, vouchedFor);
    this.#sum = add(this.#sum, receipt);
    if (this.#pending.delete(ask)) ask.onReceipt(receipt);
  }

  #rejectEach(isMeant: (ask: Ask) => boolean, error: Error): void {
    for (const ask of this.#pending) {
      if (!isMeant(ask)) continue;
      this.#pending.delete(ask);
      ask.reject(error);
    }
  }

  #takeLoss(): ClosedError {
    const count = this.#lost;
    this.#lost = 0;
    const what = count === 1 ? "1 message" : `${count} messages`;
    const message = `Cannot confirm ${what}: the connection to ${this.#link.path} was lost behind them`;
    return new ClosedError("CLOSED_DISCONNECTED", message);
  }

  #unknownError(): ClosedError {
    const what = "Cannot tell what became of the message";
    const message = `${what}: the connection to ${this.#link.path} was lost meanwhile`;
    return new ClosedError("CLOSED_DISCONNECTED", message);
  }
}

/** A later broker may refuse with an error of another class. */
function isDenial(error: Error): error is Denial {
  return error instanceof RejectedError || error instanceof LimitError;
}

/** Another error, since the same may tell of other messages, too: publish() throws it from now on. */
function withReceipt(denial: Denial, receipt: DeniedReceipt): Denial {
  const { message } = denial;
  if (denial instanceof LimitError) {
    const { code, limit, actual } = denial;
    return new LimitError(code, message, { limit, actual, receipt }, { cause: denial });
  }
  const { code, status, rule, topic } = denial;
  return new RejectedError(code, message, { status, rule, topic, receipt }, { cause: denial });
}

function receiptOf(ack: SyncAck): Receipt {
  const { published, matched, delivered, queued, dropped, denied } = ack;
  const { lostLater, superseded, fdsWaiting, fdsExpired } = ack;
  const atOnce = { published, matched, delivered, queued, dropped, denied };
  return { ...atOnce, lostLater, superseded, fdsWaiting, fdsExpired };
}

function add(a: Receipt, b: Receipt): Receipt {
  return {
    published: a.published + b.published,
    matched: a.matched + b.matched,
    delivered: a.delivered + b.delivered,
    queued: a.queued + b.queued,
    dropped: a.dropped + b.dropped,
    denied: a.denied + b.denied,
    lostLater: a.lostLater + b.lostLater,
    superseded: a.superseded + b.superseded,
    fdsWaiting: b.fdsWaiting,
    fdsExpired: a.fdsExpired + b.fdsExpired,
  };
}
