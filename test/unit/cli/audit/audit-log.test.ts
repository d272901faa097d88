import { afterEach, describe, expect, jest, test } from "bun:test";
import type { BrokerEvent } from "../../../../src/broker/events.ts";
import { AUDIT_BURST_EVENTS, AUDIT_REFILL_MS } from "../../../../src/cli/audit/audit-limiter.ts";
import { AuditLog } from "../../../../src/cli/audit/audit-log.ts";
import type { AuditSink } from "../../../../src/cli/audit/audit-sink.ts";

/** A sink that keeps what it takes, and can be full or lose what it took. */
class SimulatedSink implements AuditSink {
  readonly lines: string[] = [];
  isFull = false;
  reopened = 0;
  #onLost: (() => void)[] = [];

  offer(line: string, onLost: () => void): boolean {
    if (this.isFull) return false;
    this.lines.push(line);
    this.#onLost.push(onLost);
    return true;
  }

  /** The lines that were taken last could not be written after all. */
  lose(count: number): void {
    for (const onLost of this.#onLost.splice(-count)) onLost();
    this.lines.splice(-count);
  }

  reopen(): void {
    this.reopened += 1;
  }

  async drained(): Promise<void> {}

  get records(): Record<string, unknown>[] {
    return this.lines.map((line) => JSON.parse(line));
  }
}

function denial(uid: number, topic = "a"): BrokerEvent {
  const identity = { uid, gid: uid, pid: 1, groups: [] };
  const denied = { action: "publish", topic, rule: undefined };
  return { type: "denied", connection: 1, identity, ...denied };
}

/** A log on a simulated sink, with a clock that stands still until it is told to go. */
function simulate() {
  const clock = { now: 0 };
  const sink = new SimulatedSink();
  return { clock, sink, log: new AuditLog(sink, () => clock.now) };
}

function repeat(count: number, action: () => void): void {
  for (let index = 0; index < count; index += 1) action();
}

afterEach(() => {
  jest.useRealTimers();
});

describe("AuditLog.record()", () => {
  test("writes one line of JSON, with level and time first", () => {
    const { sink, log } = simulate();
    log.record(denial(7, "sensors.a"));
    expect(sink.lines).toHaveLength(1);
    expect(sink.lines[0]).toMatch(/^\{"level":"warn","time":"\d{4}-\d\d-\d\dT[\d:.]+Z","event":/);
    const { time, ...rest } = sink.records[0] ?? {};
    expect(Date.parse(String(time))).toBeGreaterThan(0);
    expect(rest).toEqual({
      level: "warn",
      event: "denied",
      connection: 1,
      uid: 7,
      gid: 7,
      pid: 1,
      action: "publish",
      topic: "sensors.a",
    });
  });

  test("escapes what a terminal would act on, so that JSON gives it back", () => {
    const { sink, log } = simulate();
    const message = 'a\n\u001b[2J\u007f\u009b\u202e\u2028 "quoted" %s {}';
    log.record({ type: "policy-refused", message });
    expect(sink.records[0]).toMatchObject({ message });
    expect(sink.lines[0]).toMatch(/^[\x20-\x7e]*$/);
  });

  test("tells with a user's next line how many were suppressed", () => {
    const { clock, sink, log } = simulate();
    repeat(AUDIT_BURST_EVENTS + 5, () => log.record(denial(7)));
    expect(sink.lines).toHaveLength(AUDIT_BURST_EVENTS);
    clock.now = 1_000;
    log.record(denial(8));
    log.record(denial(7));
    log.record(denial(7));
    const told = sink.records.slice(AUDIT_BURST_EVENTS);
    expect(told.map(({ uid, suppressed }) => [uid, suppressed])).toEqual([
      [8, undefined],
      [7, 5],
      [7, undefined],
    ]);
  });

  test("tells of a user who went quiet before the line of another", () => {
    const { clock, sink, log } = simulate();
    repeat(AUDIT_BURST_EVENTS + 5, () => log.record(denial(7)));
    clock.now = AUDIT_REFILL_MS;
    log.record(denial(8));
    const told = sink.records.slice(AUDIT_BURST_EVENTS);
    expect(told).toMatchObject([{ event: "suppressed", uid: 7, suppressed: 5 }, { uid: 8 }]);
  });

  test("tells of a user who went quiet where nothing else happens", () => {
    jest.useFakeTimers();
    const { clock, sink, log } = simulate();
    repeat(AUDIT_BURST_EVENTS + 5, () => log.record(denial(7)));
    clock.now = AUDIT_REFILL_MS;
    jest.advanceTimersByTime(AUDIT_REFILL_MS);
    const told = sink.records.slice(AUDIT_BURST_EVENTS);
    expect(told).toMatchObject([{ event: "suppressed", uid: 7, suppressed: 5 }]);
    expect(jest.getTimerCount()).toBe(0);
  });

  test("tells every figure before the line that the broker has stopped", () => {
    const { sink, log } = simulate();
    repeat(AUDIT_BURST_EVENTS + 5, () => log.record(denial(7)));
    log.record({ type: "stopped", path: "/run/bus.sock" });
    const told = sink.records.slice(AUDIT_BURST_EVENTS);
    expect(told).toMatchObject([{ event: "suppressed", suppressed: 5 }, { event: "stopped" }]);
  });

  test("never suppresses what the broker itself does, but pauses of accepting", () => {
    const { clock, sink, log } = simulate();
    repeat(AUDIT_BURST_EVENTS + 5, () => log.record({ type: "policy-refused", message: "no" }));
    expect(sink.lines).toHaveLength(AUDIT_BURST_EVENTS + 5);
    repeat(AUDIT_BURST_EVENTS + 5, () => log.record({ type: "accept-paused", reason: "no" }));
    expect(sink.lines).toHaveLength(2 * AUDIT_BURST_EVENTS + 5);
    clock.now = AUDIT_REFILL_MS;
    log.record(denial(7));
    const { time, ...summary } = sink.records[2 * AUDIT_BURST_EVENTS + 5] ?? {};
    expect(summary).toEqual({ level: "warn", event: "suppressed", suppressed: 5 });
  });
});

describe("a sink that does not take lines", () => {
  test("is told of with the next line that it takes", () => {
    const { sink, log } = simulate();
    log.record(denial(7));
    sink.isFull = true;
    repeat(3, () => log.record(denial(7)));
    sink.isFull = false;
    log.record(denial(8));
    log.record(denial(8));
    expect(sink.records.map(({ dropped }) => dropped)).toEqual([undefined, 3, undefined]);
    expect(log.dropped).toBe(0);
  });

  test("counts what was suppressed before a dropped line as dropped", () => {
    const { clock, sink, log } = simulate();
    repeat(AUDIT_BURST_EVENTS + 5, () => log.record(denial(7)));
    sink.isFull = true;
    clock.now = 100;
    log.record(denial(7));
    expect(log.dropped).toBe(6);
    sink.isFull = false;
    log.record(denial(8));
    expect(sink.records.at(-1)).toMatchObject({ uid: 8, dropped: 6 });
  });

  test("counts a line that was taken and failed, and what that line told", () => {
    const { sink, log } = simulate();
    sink.isFull = true;
    log.record(denial(7));
    sink.isFull = false;
    repeat(2, () => log.record(denial(7)));
    sink.lose(2);
    expect(log.dropped).toBe(3);
    log.record(denial(7));
    expect(sink.records).toMatchObject([{ dropped: 3 }]);
  });
});

describe("AuditLog.drained()", () => {
  test("tells every figure first", async () => {
    const { sink, log } = simulate();
    repeat(AUDIT_BURST_EVENTS + 5, () => log.record(denial(7)));
    repeat(AUDIT_BURST_EVENTS + 6, () => log.record(denial(8)));
    await log.drained();
    expect(sink.records.slice(2 * AUDIT_BURST_EVENTS)).toMatchObject([
      { level: "warn", event: "suppressed", uid: 7, suppressed: 5 },
      { level: "warn", event: "suppressed", uid: 8, suppressed: 6 },
    ]);
  });
});

test("AuditLog.reopen() is passed on", () => {
  const { sink, log } = simulate();
  log.reopen();
  expect(sink.reopened).toBe(1);
});
