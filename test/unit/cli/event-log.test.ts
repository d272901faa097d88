import { expect, test } from "bun:test";
import type { BrokerEvent } from "../../../src/broker/events.ts";
import { AUDIT_BURST_EVENTS, AUDIT_REFILL_MS } from "../../../src/cli/audit/audit-limiter.ts";
import { EventLog } from "../../../src/cli/event-log.ts";
import type { LogSink } from "../../../src/cli/log-sink.ts";

function denied(uid: number): BrokerEvent {
  const identity = { uid, gid: uid, pid: 7, groups: [] };
  return {
    type: "denied",
    connection: 3,
    identity,
    action: "publish",
    topic: "a",
    rule: "no",
  };
}

test("EventLog counts what one user is refused too often, and shows what others are", () => {
  const lines: string[] = [];
  let now = 0;
  const sink = { write: (line: string) => lines.push(line) } as unknown as LogSink;
  const log = new EventLog(sink, false, () => now);
  for (let index = 0; index < AUDIT_BURST_EVENTS + 30; index += 1) log.record(denied(1000));
  expect(lines).toHaveLength(AUDIT_BURST_EVENTS);
  log.record(denied(2000));
  expect(lines.at(-1)).toContain("uid=2000");
  now = AUDIT_REFILL_MS;
  log.record(denied(1000));
  expect(lines.slice(-2)).toEqual([
    "seqbus: 30 more events of uid 1000 are not shown",
    expect.stringContaining("uid=1000"),
  ]);
});

test("EventLog says nothing of what is in order unless it is verbose", () => {
  const lines: string[] = [];
  const sink = { write: (line: string) => lines.push(line) } as unknown as LogSink;
  const identity = { uid: 1, gid: 1, pid: 7, groups: [] };
  new EventLog(sink, false, () => 0).record({ type: "connected", connection: 1, identity });
  expect(lines).toEqual([]);
  new EventLog(sink, true, () => 0).record({ type: "connected", connection: 1, identity });
  expect(lines).toHaveLength(1);
});
