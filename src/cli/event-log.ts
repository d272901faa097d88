/**
 * The broker's log for people, on standard error: one line an event. A user who is refused all the
 * time is not allowed to fill it: what is too much is counted, as in the audit log.
 */

import type { BrokerEvent } from "../broker/events.ts";
import { AuditLimiter, type Suppressed } from "./audit/audit-limiter.ts";
import { brokerLogLine } from "./broker-log.ts";
import type { LogSink } from "./log-sink.ts";

/** Writes events as lines. */
export class EventLog {
  readonly #sink: LogSink;
  readonly #isVerbose: boolean;
  readonly #now: () => number;
  readonly #limiter = new AuditLimiter();

  /**
   * @param sink borrowed
   * @param isVerbose also tell what is in order
   * @param now milliseconds, monotonic
   */
  constructor(sink: LogSink, isVerbose: boolean, now: () => number) {
    this.#sink = sink;
    this.#isVerbose = isVerbose;
    this.#now = now;
  }

  /** Writes a line, where the event is worth one and its user has not had too many. */
  record(event: BrokerEvent): void {
    const line = brokerLogLine(event, this.#isVerbose);
    if (line === undefined) return;
    if ("identity" in event && !this.#admit(event.identity.uid)) return;
    if ("uid" in event && !this.#admit(event.uid)) return;
    this.#sink.write(`seqbus: ${line}`);
  }

  #admit(uid: number): boolean {
    const now = this.#now();
    for (let due = this.#limiter.takeRefilled(now); due; due = this.#limiter.takeRefilled(now)) {
      this.#tell(due);
    }
    const suppressed = this.#limiter.admit(uid, now);
    if (suppressed === undefined) return false;
    if (suppressed.count > 0) this.#tell(suppressed);
    return true;
  }

  #tell({ uid, count }: Suppressed): void {
    const whose = uid === undefined ? "of other users" : `of uid ${uid}`;
    this.#sink.write(`seqbus: ${count} more events ${whose} are not shown`);
  }
}
