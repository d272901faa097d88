/** The clean end of a broker, by a clock that the test moves. */

import { beforeEach, describe, expect, test } from "bun:test";
import type { Connection } from "../../../../src/broker/connection.ts";
import { SHUTDOWN_DRAIN_MS } from "../../../../src/broker/departures/limits.ts";
import { Shutdown } from "../../../../src/broker/departures/shutdown.ts";
import {
  CONTROL_FRAME_BUFFER,
  encodeControlFrame,
} from "../../../../src/broker/sending/control-frames.ts";
import { OPCODE } from "../../../../src/protocol/opcodes.ts";
import { ConnectionBench } from "../connection-fixture.ts";

let bench: ConnectionBench;
let now: number;
/** What was brought to rest, and whose socket is read from no more. */
let stopped: string[];
let shutdown: Shutdown;

beforeEach(() => {
  bench = new ConnectionBench();
  now = 5;
  stopped = [];
  const clear = (what: string) => ({ clear: () => void stopped.push(what) });
  shutdown = new Shutdown({
    table: { all: () => bench.connections },
    reading: clear("reading"),
    turns: clear("turns"),
    replay: clear("replay"),
    watch: { stopReading: ({ id }) => void stopped.push(`connection ${id}`) },
    flusher: { flushAll: () => [...bench.connections].map(({ queue }) => queue.flush()) },
    send: ({ queue }, frame) => void queue.push(CONTROL_FRAME_BUFFER, encodeControlFrame(frame)),
    evict: () => {},
    now: () => now,
  });
});

function opcodesTo(connection: Connection): number[] {
  return bench.framesTo(connection).map(({ opcode }) => opcode);
}

describe("Shutdown.begin()", () => {
  test("says goodbye to all but the doomed, and reads no more", () => {
    const alive = bench.connect(1);
    const doomed = bench.connect(2);
    doomed.state = "DOOMED";
    shutdown.begin();
    expect(stopped).toEqual(["reading", "turns", "replay", "connection 1"]);
    expect(opcodesTo(alive)).toEqual([OPCODE.GOODBYE]);
    expect(opcodesTo(doomed)).toEqual([]);
  });
});

describe("Shutdown.isDone()", () => {
  test("is false before it has begun, also where nothing waits", () => {
    expect([shutdown.isDone(), shutdown.isDrained()]).toEqual([false, false]);
    expect([shutdown.hasBegun, shutdown.deadline]).toEqual([false, Number.POSITIVE_INFINITY]);
  });

  test("is true once every client has taken what is meant for it", () => {
    const slow = bench.connect(1);
    bench.socketOf(slow).capacity = 0;
    shutdown.begin();
    expect([shutdown.isDone(), shutdown.isDrained()]).toEqual([false, false]);
    bench.socketOf(slow).capacity = 1;
    slow.queue.flush();
    expect([shutdown.isDone(), shutdown.isDrained()]).toEqual([true, true]);
  });

  test("is true SHUTDOWN_DRAIN_MS later, where one takes nothing", () => {
    bench.socketOf(bench.connect(1)).capacity = 0;
    shutdown.begin();
    expect(shutdown.deadline).toBe(now + SHUTDOWN_DRAIN_MS);
    now += SHUTDOWN_DRAIN_MS - 1;
    expect(shutdown.isDone()).toBe(false);
    now += 1;
    expect([shutdown.isDone(), shutdown.isDrained()]).toEqual([true, false]);
  });

  test("waits for nobody who is doomed", () => {
    const doomed = bench.connect(1);
    bench.socketOf(doomed).capacity = 0;
    shutdown.begin();
    doomed.state = "DOOMED";
    expect(shutdown.isDone()).toBe(true);
  });
});
