/** What a part of the bus does whose state in the broker goes with the connection. */

/** See the head of this file. Subscriptions are such a part; services and watches are others. */
export interface Restorable {
  /** The connection is lost: numbers that the broker gave mean nothing any more. */
  onLost(): void;
  /**
   * Asks a new connection for all that the last one had. What is refused ends; the rest goes on.
   * @throws where that connection is lost as well; it will be called again with the next
   */
  restore(): Promise<void>;
  /** Stops new work from coming. @returns when what came before is done with; may be never */
  retire(): Promise<void>;
}
