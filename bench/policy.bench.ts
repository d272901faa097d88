/**
 * Micro benchmarks of the policy: what a decision costs by the number of rules, and how long taking
 * in a new policy holds a broker up. Run: `bun bench/policy.bench.ts`.
 *
 * Issue: against 10,000 rules less than 50 us a decision, and less than 20 ms a reload.
 */

import { do_not_optimize, group } from "mitata";
import type { PeerIdentity } from "../src/broker/identity/identity.ts";
import { decide, decideSubscribe } from "../src/broker/policy/decide.ts";
import { buildPolicy, PolicyAssembly, serializePolicy } from "../src/broker/policy/policy-build.ts";
import { parsePolicy, type UserDirectory } from "../src/broker/policy/policy-file.ts";
import type { PolicySource, Rule } from "../src/broker/policy/rules.ts";
import { bench, runBenches } from "./micro.ts";
import { clientOfRule, policyText, RULE_SHAPES, topicOfRule } from "./policy-rules.ts";

const RULE_COUNTS = [1, 1_000, 10_000];
const RULES_MAX = 10_000;
const RULE_IN_THE_MIDDLE = 4_996;

/** What rules are about, in turn: each shape has another way through the index. */
const SHAPES: readonly ((at: number) => Partial<Rule>)[] = [
  (at) => ({ any: true, topics: [`apps.app${at}.>`] }),
  (at) => ({ users: [1_000 + at], topics: [`users.u${at}.>`, "sensors.>"] }),
  (at) => ({ uids: [{ first: at * 10, last: at * 10 + 99 }], topics: [`tenants.t${at}.*.state`] }),
  (at) => ({ groups: [at % 50], topics: [`*.g${at}.>`] }),
  (at) => ({ units: [`app-${at}-*.scope`], topics: ["session.>"] }),
  (at) => ({ any: true, allow: [], deny: ["publish"], topics: [`apps.app${at}.secret`] }),
];

const CLIENT: PeerIdentity = {
  uid: 100_007,
  gid: 7,
  pid: 1,
  groups: [4, 24, 27, 30, 46, 100, 1_000],
  cgroup: "/session.scope",
  unit: "app-9994-2.scope",
  exe: "/usr/bin/app",
};

/**
 * Rules that the index cannot tell apart, since they agree in topic and in what they are sorted by.
 * They are tried one by one, however many there are.
 */
const WORST_SHAPES: Readonly<Record<string, (at: number) => Partial<Rule>>> = {
  "units that begin with *": (at) => ({ units: [`*-app${at}.scope`] }),
  "one user, a unit each": (at) => ({ users: [CLIENT.uid], units: [`app${at}.service`] }),
  "uid ranges that overlap": (at) => ({ uids: [{ first: at, last: CLIENT.uid - 1 - at }] }),
};

function sourceOf(ruleCount: number, shapes = SHAPES): PolicySource {
  const rules = Array.from({ length: ruleCount }, (_, at): Rule => {
    const shape = shapes[at % shapes.length]?.(at);
    return {
      id: `rule-${at}`,
      path: "policy.toml",
      line: at * 6 + 1,
      mode: "enforce",
      allow: ["publish", "subscribe"],
      deny: [],
      topics: [],
      any: false,
      ...shape,
    };
  });
  const files = [{ path: "policy.toml", mode: "enforce" as const }];
  return { path: "policy.toml", files, rules, topicSettings: [], limits: NO_LIMITS };
}

const NO_LIMITS = { defaults: {}, overrides: [] };

for (const ruleCount of RULE_COUNTS) {
  const policy = buildPolicy(sourceOf(ruleCount));
  group(`${ruleCount} rules`, () => {
    for (const topic of [
      "apps.app9996.state",
      "sensors.kitchen.temperature",
      "session.clipboard",
    ]) {
      bench(`decide: publish ${topic}`, () =>
        do_not_optimize(decide(policy, CLIENT, "publish", topic)),
      );
    }
    bench("decide: an action of no rule", () =>
      do_not_optimize(decide(policy, CLIENT, "serve", "apps.app9996.state")),
    );
    for (const pattern of [">", "tenants.>", "*.g3.>"]) {
      bench(`decideSubscribe: ${pattern}`, () =>
        do_not_optimize(decideSubscribe(policy, CLIENT, pattern)),
      );
    }
  });
}

/** Nobody here is known by name: all ids are written as numbers. */
const NOBODY: UserDirectory = {
  findUser: () => undefined,
  findGroup: () => undefined,
  overflow: { uid: 65_534, gid: 65_534 },
};

group(`${RULES_MAX} rules of one kind each, deciding for whom one of them is about`, () => {
  for (const shape of RULE_SHAPES) {
    const text = policyText({ rules: RULES_MAX, shape });
    const policy = parsePolicy(text, "policy.toml", NOBODY);
    const client: PeerIdentity = { ...CLIENT, ...clientOfRule(RULE_IN_THE_MIDDLE) };
    bench(`decide: ${shape}`, () =>
      do_not_optimize(decide(policy, client, "publish", topicOfRule(RULE_IN_THE_MIDDLE))),
    );
    bench(`decideSubscribe: ${shape}`, () =>
      do_not_optimize(decideSubscribe(policy, client, "bench.rules.>")),
    );
  }
});

group(`${RULES_MAX} rules that agree in topic and key, none about the client`, () => {
  for (const [name, shape] of Object.entries(WORST_SHAPES)) {
    const topics = ["session.>"];
    const policy = buildPolicy(sourceOf(RULES_MAX, [(at) => ({ topics, ...shape(at) })]));
    bench(`decide: ${name}`, () =>
      do_not_optimize(decide(policy, CLIENT, "publish", "session.clipboard")),
    );
  }
});

const pieces = serializePolicy(sourceOf(RULES_MAX));
group(`taking in ${RULES_MAX} rules`, () => {
  bench("buildPolicy, at once", () => do_not_optimize(buildPolicy(sourceOf(RULES_MAX))));
  bench("PolicyAssembly, all pieces", () => {
    const assembly = new PolicyAssembly();
    for (const piece of pieces) assembly.add(piece);
    do_not_optimize(assembly.finish());
  });
});

await runBenches();
console.log(`\nslowest of ${pieces.length} pieces: ${slowestPieceMs().toFixed(2)} ms`);

/** The longest that a broker does nothing else, over several reloads. */
function slowestPieceMs(): number {
  let slowest = 0;
  for (let reload = 0; reload < 10; reload += 1) {
    const assembly = new PolicyAssembly();
    for (const piece of pieces) {
      const started = performance.now();
      assembly.add(piece);
      slowest = Math.max(slowest, performance.now() - started);
    }
    do_not_optimize(assembly.finish());
  }
  return slowest;
}
