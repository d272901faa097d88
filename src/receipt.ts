/** What became of published messages: the figures alone. Errors carry them, too. */

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
  /** Messages that were refused, by the policy or for a limit. */
  readonly denied: number;
  /**
   * Of all that was delivered so far, also before the last flush: lost since, in the broker's queue
   * for a subscriber. They went as the oldest, with a reader that ended, or a body was not taken.
   */
  readonly lostLater: number;
  /** The same, where a newer message of the topic stands for it: the subscriber asked for that. */
  readonly superseded: number;
  /**
   * Copies of this client's files, large bodies included, that are on their way now: no subscriber
   * has taken them yet. 0 once the last one has.
   */
  readonly fdsWaiting: number;
  /** Copies of them that were closed because nobody took them in time. */
  readonly fdsExpired: number;
}

/** What became of one message at once. What is lost later is in the receipt of a flush. */
export type PublishReceipt = Omit<Receipt, "lostLater" | "superseded">;

/** What was counted where messages were refused; for one message alone a PublishReceipt. */
export type DeniedReceipt = PublishReceipt & Partial<Receipt>;
