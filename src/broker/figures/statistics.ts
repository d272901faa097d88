/**
 * Sums by user and by systemd unit, of connections that are open and of those that are gone. Only
 * the gone ones are kept, when they go; the open ones are added when somebody asks. Bounded: of
 * users and units without a connection the latest are kept apart, the others share one sum.
 */

import type { Connection } from "../connection.ts";
import type { BrokerEventListener } from "../events.ts";
import { addFigures, type Figures, figuresOf, zeroFigures } from "./figures.ts";
import { FoldedSums, type OTHERS, type SumKind } from "./folded-sums.ts";

/** Connections, and what they did. */
export interface Sum {
  /** Open now. */
  open: number;
  /** Gone. */
  gone: number;
  readonly figures: Figures;
}

const SUM: SumKind<Sum> = {
  zero: emptySum,
  add(into, { gone, figures }) {
    into.gone += gone;
    addFigures(into.figures, figures);
  },
};

/** The sums of one broker. */
export class Statistics {
  readonly #byUid = new FoldedSums<number, Sum>(SUM);
  readonly #byUnit = new FoldedSums<string, Sum>(SUM);
  readonly #gone = emptySum();
  readonly #events = new Map<string, number>();
  readonly #endings = new Map<string, number>();

  /** Keeps the figures of a connection that ends. */
  fold(connection: Connection): void {
    const figures = figuresOf(connection);
    const { uid, unit } = connection.identity;
    const sum = { open: 0, gone: 1, figures };
    SUM.add(this.#gone, sum);
    this.#byUid.fold(uid, sum);
    if (unit !== undefined) this.#byUnit.fold(unit, sum);
  }

  /** A listener that counts events by type, and endings by the code that says why. */
  counting(onEvent: BrokerEventListener): BrokerEventListener {
    return (event) => {
      countOne(this.#events, event.type);
      const isEnding = event.type === "disconnected" && event.code !== undefined;
      if (isEnding) countOne(this.#endings, event.code);
      onEvent(event);
    };
  }

  /** Events since the start, by type. */
  get events(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#events);
  }

  /** Connections that the broker ended, by error code. */
  get endings(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#endings);
  }

  /** Everybody, open and gone. */
  total(open: Iterable<Connection>): Sum {
    const { gone, figures } = this.#gone;
    const sum = { open: 0, gone, figures: { ...figures } };
    for (const connection of open) addOpen(sum, connection);
    return sum;
  }

  /** By uid; OTHERS for those that are not kept apart. */
  byUid(open: Iterable<Connection>): Map<number | typeof OTHERS, Sum> {
    const sums = copyOf(this.#byUid);
    for (const connection of open) addOpen(sumOf(sums, connection.identity.uid), connection);
    return sums;
  }

  /** By unit, of connections whose unit is known; OTHERS for those that are not kept apart. */
  byUnit(open: Iterable<Connection>): Map<string | typeof OTHERS, Sum> {
    const sums = copyOf(this.#byUnit);
    for (const connection of open) {
      const { unit } = connection.identity;
      if (unit !== undefined) addOpen(sumOf(sums, unit), connection);
    }
    return sums;
  }
}

function emptySum(): Sum {
  return { open: 0, gone: 0, figures: zeroFigures() };
}

/** To add to. */
function copyOf<Key>(sums: FoldedSums<Key, Sum>): Map<Key | typeof OTHERS, Sum> {
  const copies = new Map<Key | typeof OTHERS, Sum>();
  for (const [key, { gone, figures }] of sums.entries()) {
    copies.set(key, { open: 0, gone, figures: { ...figures } });
  }
  return copies;
}

function sumOf<Key>(sums: Map<Key, Sum>, key: Key): Sum {
  const sum = sums.get(key) ?? emptySum();
  sums.set(key, sum);
  return sum;
}

function addOpen(sum: Sum, connection: Connection): void {
  sum.open += 1;
  addFigures(sum.figures, figuresOf(connection));
}

function countOne(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
