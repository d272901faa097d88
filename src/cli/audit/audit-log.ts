/**
 * The audit log: one line of JSON for each event of the broker, through pino. What it promises to
 * programs that read it stands in docs/audit.md.
 *
 * Every event is written, or counted in exactly one figure: `suppressed` where its user had too many
 * of them, `dropped` where the sink had no room or failed. pino's transports are not used: they run
 * in threads of their own, and their queues have no bound.
 */

import { type Logger, pino, stdTimeFunctions } from "pino";
import type { BrokerEvent } from "../../broker/events.ts";
import { escapedJson } from "../printable-text.ts";
import { AuditLimiter, type Suppressed } from "./audit-limiter.ts";
import { type AuditRecord, auditRecord } from "./audit-record.ts";
import type { AuditSink } from "./audit-sink.ts";

/** The key of the limiter for what happens to the broker again and again by nobody in particular. */
const BROKER_KEY = -1;

/** Writes events. Never blocks and never throws. */
export class AuditLog {
  readonly #sink: AuditSink;
  readonly #now: () => number;
  readonly #limiter = new AuditLimiter();
  readonly #logger: Logger;
  #summaries: NodeJS.Timeout | undefined;
  /** Events that the sink lost, and that no line has told yet. */
  #dropped = 0;
  /** Events that the line being written stands for: its own, and those that it counts. */
  #lineEvents = 0;

  /**
   * @param sink borrowed
   * @param now milliseconds, monotonic
   */
  constructor(sink: AuditSink, now: () => number = () => performance.now()) {
    this.#sink = sink;
    this.#now = now;
    const options = {
      base: null,
      messageKey: "message",
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (level: string) => ({ level }) },
    };
    this.#logger = pino(options, { write: (text) => this.#offer(text) });
  }

  /** Events that were lost and not told: what is left of them at the end, nobody will be told. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Writes the line of an event, unless its user has had too many. */
  record(event: BrokerEvent): void {
    // Nothing comes after the broker's last line.
    this.#tellRefilled(event.type === "stopped" ? Number.POSITIVE_INFINITY : this.#now());
    const key = limiterKey(event);
    const suppressed = key === undefined ? undefined : this.#limiter.admit(key, this.#now());
    if (key !== undefined && suppressed === undefined) return this.#scheduleSummaries();
    this.#write(auditRecord(event), suppressed, 1);
  }

  /** Goes on in a new file, where the sink is one: after a log rotation. */
  reopen(): void {
    this.#sink.reopen?.();
  }

  /** Tells every figure that is left and waits for the sink, which may take for ever. */
  async drained(): Promise<void> {
    this.#tellRefilled(Number.POSITIVE_INFINITY);
    clearTimeout(this.#summaries);
    await this.#sink.drained();
  }

  #tellRefilled(now: number): void {
    for (;;) {
      const suppressed = this.#limiter.takeRefilled(now);
      if (suppressed === undefined) return;
      const uid = suppressed.uid === BROKER_KEY ? undefined : suppressed.uid;
      this.#write({ level: "warn", fields: { event: "suppressed", uid } }, suppressed, 0);
    }
  }

  /** A user who has gone quiet is told of in time, also where nothing else happens. */
  #scheduleSummaries(): void {
    if (this.#summaries !== undefined) return;
    const delay = Math.max(1, this.#limiter.nextRefillAt() - this.#now());
    this.#summaries = setTimeout(() => {
      this.#summaries = undefined;
      this.#tellRefilled(this.#now());
      if (this.#limiter.untold > 0) this.#scheduleSummaries();
    }, delay);
    this.#summaries.unref();
  }

  #write(record: AuditRecord, suppressed: Suppressed | undefined, ownEvents: number): void {
    const { level, fields, message } = record;
    const suppressedCount = suppressed?.count ?? 0;
    const isShared = suppressed !== undefined && suppressed.uid === undefined;
    const dropped = this.#dropped;
    this.#dropped = 0;
    this.#lineEvents = ownEvents + suppressedCount + dropped;
    const figures = {
      suppressed: isShared ? undefined : suppressedCount || undefined,
      suppressedOthers: isShared ? suppressedCount || undefined : undefined,
      dropped: dropped || undefined,
    };
    this.#logger[level]({ ...fields, ...figures }, message);
  }

  /** pino hands each line over before it returns. */
  #offer(text: string): void {
    const events = this.#lineEvents;
    const onLost = (): void => {
      this.#dropped += events;
    };
    if (!this.#sink.offer(escapedJson(text.trimEnd()), onLost)) onLost();
  }
}

/** Whose bucket an event is counted in; undefined for those that are always written. */
function limiterKey(event: BrokerEvent): number | undefined {
  if ("identity" in event) return event.identity.uid;
  if ("uid" in event) return event.uid;
  return event.type === "accept-paused" ? BROKER_KEY : undefined;
}
