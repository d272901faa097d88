/** However many siblings take however much: a connection gets its share, and its uid no more than its limit. */

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ADMINISTRATORS_EXTRA_MAX } from "../../../../src/broker/limits.ts";
import {
  type ConnectionQuota,
  type Limits,
  Quotas,
  RESOURCE,
  type ResourceName,
} from "../../../../src/broker/quotas/quota.ts";
import { QUOTA_DEFAULTS } from "../../../../src/broker/quotas/quota-limits.ts";

const UID = 1_000;
const RESOURCES = (Object.keys(RESOURCE) as ResourceName[]).filter(
  (name) => name !== "connections",
);
/** All that its siblings leave to a connection. */
const ALL = Number.MAX_SAFE_INTEGER;

interface Setting {
  readonly connections: number;
  readonly limit: number;
}

const setting = fc.record({
  connections: fc.integer({ min: 1, max: 6 }),
  limit: fc.oneof(fc.integer({ min: 200, max: 2_000 }), fc.nat(200)),
});

const taking = fc.record({
  take: fc.nat(13),
  amount: fc.oneof(fc.nat(8), fc.nat(40), fc.constant(ALL)),
});

const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ open: fc.constant(true) }) },
  { weight: 6, arbitrary: taking },
  { weight: 1, arbitrary: fc.record({ give: fc.nat(13), amount: fc.nat(40) }) },
  { weight: 1, arbitrary: fc.record({ leave: fc.nat(13) }) },
  { weight: 1, arbitrary: fc.record({ raise: fc.nat(100) }) },
);

type Step = typeof step extends fc.Arbitrary<infer Each> ? Each : never;

/** The connections of one user, who take as much of one resource as they can. */
class Crowd {
  readonly #name: ResourceName;
  readonly #quotas: Quotas;
  readonly #open: ConnectionQuota[] = [];
  #setting: Setting;

  constructor(name: ResourceName, start: Setting) {
    this.#name = name;
    this.#setting = start;
    this.#quotas = new Quotas(() => this.#limits());
  }

  run(step: Step): void {
    if ("open" in step) this.#join();
    else if ("take" in step) this.#with(step.take, (one) => this.#take(one, step.amount));
    else if ("give" in step) this.#with(step.give, (one) => this.#give(one, step.amount));
    else if ("leave" in step) this.#with(step.leave, (one) => this.#leave(one));
    else this.#raise(step.raise);
  }

  #limits(): Limits {
    const { connections, limit } = this.#setting;
    return { ...QUOTA_DEFAULTS, [this.#name]: limit, connections };
  }

  #join(): void {
    if (this.#open.length < this.#setting.connections + ADMINISTRATORS_EXTRA_MAX) {
      this.#open.push(this.#quotas.open(UID));
    }
  }

  #with(place: number, action: (one: ConnectionQuota) => void): void {
    const one = this.#open[place % Math.max(1, this.#open.length)];
    if (one !== undefined) action(one);
  }

  #take(one: ConnectionQuota, wanted: number): void {
    const resource = RESOURCE[this.#name];
    const used = one.used(resource);
    const amount = wanted === ALL ? Math.max(0, one.limit(resource) - used) : wanted;
    const share = one.user.share(resource);
    const isCharged = one.charge(resource, amount);
    const isKept = share * this.#open.length <= Math.floor(this.#setting.limit / 4);
    if (isKept && used + amount <= share) expect(isCharged).toBe(true);
    if (isCharged && amount > 0) {
      expect(one.user.used(resource)).toBeLessThanOrEqual(this.#setting.limit);
    }
    if (this.#open.length === 1) {
      expect(one.limit(resource)).toBe(Math.floor(this.#setting.limit / 2));
    }
  }

  #give(one: ConnectionQuota, most: number): void {
    const resource = RESOURCE[this.#name];
    one.release(resource, Math.min(most, one.used(resource)));
  }

  #leave(one: ConnectionQuota): void {
    const resource = RESOURCE[this.#name];
    one.release(resource, one.used(resource));
    one.close();
    this.#open.splice(this.#open.indexOf(one), 1);
  }

  #raise(by: number): void {
    this.#setting = { ...this.#setting, limit: this.#setting.limit + by };
    this.#quotas.replaceLimits(() => this.#limits());
  }
}

describe("ConnectionQuota", () => {
  test.each(RESOURCES)(
    "gives each connection its share of %s, whatever its siblings take",
    (name) => {
      fc.assert(
        fc.property(setting, fc.array(step, { minLength: 40, maxLength: 120 }), (start, steps) => {
          const crowd = new Crowd(name, start);
          for (const step of steps) crowd.run(step);
        }),
        { numRuns: 300 },
      );
    },
  );

  test.each(RESOURCES)("leaves a share of %s to the last of a hundred greedy ones", (name) => {
    const quotas = new Quotas(() => QUOTA_DEFAULTS);
    const resource = RESOURCE[name];
    for (let count = 0; count < 100; count += 1) {
      const greedy = quotas.open(UID);
      greedy.charge(resource, greedy.limit(resource));
      expect(greedy.charge(resource, 1)).toBe(false);
    }
    const last = quotas.open(UID);
    expect(last.user.share(resource)).toBeGreaterThanOrEqual(1);
    expect(last.charge(resource, last.user.share(resource))).toBe(true);
  });
});
