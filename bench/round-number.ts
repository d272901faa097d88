/**
 * The number of a round trip: it stands in the first four bytes of what is sent, the other end copies
 * it, and whoever measures compares it. So an answer that is lost, repeated or that of another round
 * is seen, and not taken for a fast one. Touches no socket.
 */

/** Bytes of the number, in front of a body; little-endian. */
export const ROUND_NUMBER_BYTES = 4;

/** Counts rounds and checks their answers. */
export class RoundNumber {
  readonly #messageBytes: number;
  /** Of the round under way, 0 for the first. */
  current = 0;

  /** @param messageBytes of each body */
  constructor(messageBytes: number) {
    this.#messageBytes = messageBytes;
  }

  /**
   * The answer to the round under way has come; the next one begins.
   * @param number the first four bytes of its body
   * @param bodyBytes its length
   * @throws {Error} where it is another's answer, or of the wrong length
   */
  take(number: number, bodyBytes: number): void {
    checkLength(bodyBytes, this.#messageBytes);
    if (number !== this.current) {
      throw new Error(`Got the answer to round ${number}, wanted ${this.current}`);
    }
    this.current = (number + 1) >>> 0;
  }

  /**
   * The same for a client that hands out bodies.
   * @throws {Error} as take()
   */
  takeBody(body: Uint8Array): void {
    this.take(readRoundNumber(body), body.byteLength);
  }
}

/** @throws {Error} where a body is not as long as all are */
export function checkLength(bodyBytes: number, wanted: number): void {
  if (bodyBytes !== wanted) throw new Error(`Got ${bodyBytes} bytes, wanted ${wanted}`);
}

/** The number in front of a body. */
export function readRoundNumber([a = 0, b = 0, c = 0, d = 0]: Uint8Array): number {
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}

/** Writes a number in front of a body. */
export function writeRoundNumber(body: Uint8Array, number: number): void {
  for (let at = 0; at < ROUND_NUMBER_BYTES; at += 1) body[at] = (number >>> (8 * at)) & 0xff;
}
