/** The table of last values against a model: a map from topics to values with their deadlines. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Connection } from "../../../../src/broker/connection.ts";
import { RESOURCE } from "../../../../src/broker/quotas/quota.ts";
import { QUOTA_DEFAULTS } from "../../../../src/broker/quotas/quota-limits.ts";
import { RETAINED_OVERHEAD_BYTES } from "../../../../src/broker/retained/limits.ts";
import { RetainedBench } from "./retained-fixture.ts";

const TOPICS = ["a", "b", "c", "d"];
/** Bytes of last values that a user may have here: a handful. */
const BYTES_MAX = 12 * RETAINED_OVERHEAD_BYTES;

interface Kept {
  readonly number: number;
  readonly sender: number;
  readonly bytes: number;
  readonly fds: number;
  readonly deadline: number;
}

const topic = fc.constantFrom(...TOPICS);
const command = fc.oneof(
  { weight: 4, arbitrary: keepCommand() },
  { weight: 1, arbitrary: fc.record({ clear: topic }) },
  { weight: 1, arbitrary: fc.record({ pass: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 1, arbitrary: fc.record({ leave: fc.nat(3) }) },
);

type Step = typeof command extends fc.Arbitrary<infer Each> ? Each : never;

function keepCommand() {
  return fc.record({
    keep: topic,
    sender: fc.nat(3),
    bytes: fc.integer({ min: 0, max: 3_000 }),
    fds: fc.nat(2),
    keptMs: fc.option(fc.integer({ min: 1, max: 10 }), { nil: undefined }),
  });
}

/** Four connections, two of each of two users; one that leaves is followed by another. */
class Model {
  readonly bench = new RetainedBench();
  readonly kept = new Map<string, Kept>();
  readonly senders: Connection[];
  #connections = 0;
  #numbers = 0;

  constructor() {
    this.bench.connections.quotas.replaceLimits(() => {
      return { ...QUOTA_DEFAULTS, retainedBytes: BYTES_MAX };
    });
    this.senders = [0, 1, 2, 3].map((place) => this.#connect(place));
  }

  run(step: Step): void {
    if ("keep" in step) this.#keep(step);
    else if ("clear" in step) {
      expect(this.bench.table.clear(step.clear)).toBe(this.kept.delete(step.clear));
    } else if ("pass" in step) this.#pass(step.pass);
    else {
      this.bench.leave(this.senders[step.leave] as Connection);
      this.senders[step.leave] = this.#connect(step.leave);
    }
    this.#compare();
  }

  #connect(place: number): Connection {
    this.#connections += 1;
    return this.bench.connect(this.#connections, place < 2 ? 10 : 20);
  }

  #keep({ keep, sender, bytes, fds, keptMs }: Extract<Step, { keep: string }>) {
    const connection = this.senders[sender] as Connection;
    this.#numbers += 1;
    const number = this.#numbers;
    const { kernel } = this.bench.connections;
    const bundle = fds === 0 ? undefined : kernel.bundle(fds);
    const options = { bytes, ...(keptMs && { keptMs }), ...(bundle && { bundle }) };
    const before = this.kept.get(keep);
    const isKept = this.bench.keep(connection, keep, number, options);
    const ofUser = [...this.kept].filter(
      ([name, value]) => name !== keep && value.sender <= 1 === sender <= 1,
    );
    const all = ofUser.reduce((sum, [, value]) => sum + value.bytes + RETAINED_OVERHEAD_BYTES, 0);
    // What fits a user twice fits whichever of its connections asks.
    const doubled = 2 * (all + bytes + RETAINED_OVERHEAD_BYTES);
    if (doubled <= BYTES_MAX) expect(isKept).toBe(true);
    if (all + bytes + RETAINED_OVERHEAD_BYTES > BYTES_MAX) expect(isKept).toBe(false);
    if (!isKept) {
      bundle?.release();
      expect(this.kept.get(keep)).toBe(before);
      return;
    }
    const deadline = keptMs === undefined ? Number.POSITIVE_INFINITY : this.bench.now + keptMs;
    this.kept.delete(keep);
    this.kept.set(keep, { number, sender, bytes, fds, deadline });
  }

  #pass(milliseconds: number): void {
    this.bench.now += milliseconds;
    this.bench.table.expire(this.bench.now, () => true);
    for (const [name, { deadline }] of this.kept) {
      if (deadline <= this.bench.now) this.kept.delete(name);
    }
  }

  #compare(): void {
    const { table, connections } = this.bench;
    const numbers = [...table.values()].map(({ frame }) => frame.words[4]);
    expect(numbers).toEqual([...this.kept.values()].map(({ number }) => number));
    const deadlines = [...this.kept.values()].map(({ deadline }) => deadline);
    expect(table.nextDeadline).toBe(Math.min(Number.POSITIVE_INFINITY, ...deadlines));
    const fds = [...this.kept.values()].reduce((sum, value) => sum + value.fds, 0);
    expect(connections.kernel.openFds.size).toBe(fds);
    for (const uid of [10, 20]) {
      const values = [...this.kept.values()].filter(({ sender }) => sender <= 1 === (uid === 10));
      const bytes = values.reduce((sum, value) => sum + value.bytes + RETAINED_OVERHEAD_BYTES, 0);
      const user = connections.quotas.user(uid);
      expect(user.used(RESOURCE.retainedBytes)).toBe(bytes);
      expect(user.used(RESOURCE.fds)).toBe(values.reduce((sum, value) => sum + value.fds, 0));
    }
  }
}

describe("RetainedTable", () => {
  test("is a map of values that expire, each paid for by its user until it is let go of", () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60 }), (steps) => {
        const model = new Model();
        for (const step of steps) model.run(step);
        model.bench.table.clearAll();
        expect(model.bench.connections.kernel.openFds.size).toBe(0);
      }),
      { numRuns: 150 },
    );
  });
});
