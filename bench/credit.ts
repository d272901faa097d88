/**
 * The window on messages under way. Each subscriber tells the publisher, on a socketpair past the
 * relay, how many messages it has got; the publisher never runs further ahead than the window. So
 * no queue has to drop, and no unbounded queue flatters the rate.
 */

import { PacketReceiver } from "../src/ffi/ancillary.ts";
import { waitReadable } from "../src/ffi/blocking-poll.ts";
import { PinnedBuffer } from "../src/ffi/pinned-buffer.ts";
import { sendPacket } from "../src/ffi/seqpacket.ts";
import { CREDIT_FD_FIRST, type WorkOrder } from "./work-order.ts";

const RECORD_BYTES = 8;

/** Milliseconds without credit after which a run has failed. */
const CREDIT_TIMEOUT_MS = 5_000;

/** How often a window's worth of messages is acknowledged. */
const ACKS_PER_WINDOW = 4;

/**
 * Messages that were sent and not acknowledged yet.
 * @param acknowledged modulo 2^32, as records hold it: a long run sends more
 */
export function underWay(messages: number, acknowledged: number): number {
  return (messages - acknowledged) >>> 0;
}

/** The subscriber's end. */
export class CreditSender {
  readonly #record = new PinnedBuffer(RECORD_BYTES);
  readonly #fd: number;
  readonly #step: number;
  #due: number;

  /** @param fd inherited; one of several where there are several publishers */
  constructor(order: Pick<WorkOrder, "windowMessages">, fd: number = CREDIT_FD_FIRST) {
    this.#fd = fd;
    this.#step = Math.max(1, Math.floor(order.windowMessages / ACKS_PER_WINDOW));
    this.#due = this.#step;
  }

  /**
   * Tells how far this subscriber is, if that is due.
   * @returns whether it was: a good moment to look at the clock
   */
  acknowledge(messages: number): boolean {
    if (messages < this.#due) return false;
    this.#due = messages + this.#step;
    this.#record.words[0] = messages;
    sendPacket(this.#fd, this.#record, 0, RECORD_BYTES);
    return true;
  }
}

/** The publisher's end of all credit sockets, for a process that may block. */
export class CreditWindow {
  readonly #windowMessages: number;
  readonly #receivers: readonly PacketReceiver[];
  readonly #acknowledged: number[];

  constructor(order: Pick<WorkOrder, "windowMessages" | "subscribers">) {
    this.#windowMessages = order.windowMessages;
    const subscribers = Array.from({ length: order.subscribers });
    this.#receivers = subscribers.map(() => new PacketReceiver(new PinnedBuffer(RECORD_BYTES)));
    this.#acknowledged = subscribers.map(() => 0);
  }

  /** Blocks until `messages` may have been sent in all. */
  awaitRoom(messages: number): void {
    for (let index = 0; index < this.#receivers.length; index += 1) {
      while (underWay(messages, this.#acknowledged[index] as number) > this.#windowMessages) {
        this.#receive(index);
      }
    }
  }

  #receive(index: number): void {
    const fd = CREDIT_FD_FIRST + index;
    const receiver = this.#receivers[index] as PacketReceiver;
    if (receiver.receive(fd) === RECORD_BYTES) {
      this.#acknowledged[index] = receiver.buffer.words[0] as number;
    } else if (!waitReadable(fd, CREDIT_TIMEOUT_MS)) {
      throw new Error(`Subscriber ${index} gave no credit for ${CREDIT_TIMEOUT_MS} ms`);
    }
  }
}

/** The part of Bun's socket API that reads an inherited fd; its types lack the fd. */
type ConnectFd = (options: {
  fd: number;
  socket: { data(socket: unknown, record: Uint8Array): void };
}) => Promise<{ terminate(): void }>;

/** The publisher's end of all credit sockets, for a process with an event loop to feed. */
export class AsyncCreditWindow {
  readonly #windowMessages: number;
  readonly #acknowledged: number[];
  #waiting: (() => void) | undefined;
  readonly #sockets: { terminate(): void }[] = [];

  private constructor(order: WorkOrder) {
    this.#windowMessages = order.windowMessages;
    this.#acknowledged = Array.from({ length: order.subscribers }, () => 0);
  }

  /** Hands the credit sockets to the event loop. */
  static async open(order: WorkOrder): Promise<AsyncCreditWindow> {
    const window = new AsyncCreditWindow(order);
    for (const index of window.#acknowledged.keys()) {
      const socket = await (Bun.connect as unknown as ConnectFd)({
        fd: CREDIT_FD_FIRST + index,
        socket: { data: (_socket, record) => window.#take(index, record) },
      });
      window.#sockets.push(socket);
    }
    return window;
  }

  /** Whether `messages` may have been sent in all. */
  hasRoom(messages: number): boolean {
    for (let index = 0; index < this.#acknowledged.length; index += 1) {
      if (underWay(messages, this.#acknowledged[index] as number) > this.#windowMessages)
        return false;
    }
    return true;
  }

  /** Resolves at the next word from a subscriber. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  close(): void {
    for (const socket of this.#sockets) socket.terminate();
  }

  #take(index: number, record: Uint8Array): void {
    this.#acknowledged[index] = new DataView(record.buffer, record.byteOffset).getUint32(0, true);
    this.#waiting?.();
    this.#waiting = undefined;
  }
}
