import { beforeEach, describe, expect, test } from "bun:test";
import type { Connection } from "../../../../src/broker/connection.ts";
import { ownUidPolicy } from "../../../../src/broker/policy/decide.ts";
import { BusState } from "../../../../src/broker/routing/bus-state.ts";
import { Topic } from "../../../../src/broker/routing/topic-table.ts";
import { MemberChoice } from "../../../../src/broker/services/member-choice.ts";
import { GenerationCounter, Service } from "../../../../src/broker/services/service-table.ts";
import { ConnectionBench } from "../connection-fixture.ts";

let state: BusState;
let service: Service<Connection>;
let members: Connection[];
/** Members that lose the right to serve when they are asked for. */
let barred: Set<Connection>;
/** Whose right was decided anew. */
let decided: number[];
/** Who was told that it serves. */
let settled: number[];
let choice: MemberChoice;

beforeEach(() => {
  const bench = new ConnectionBench();
  state = new BusState(ownUidPolicy(0), () => {});
  service = new Service(new Topic(1, "a"), new GenerationCounter());
  members = [1, 2].map((id) => bench.connect(id));
  for (const member of members) service.join(member, { shared: true, channels: false });
  barred = new Set();
  decided = [];
  settled = [];
  choice = new MemberChoice(
    state,
    (connection) => {
      decided.push(connection.id);
      if (barred.has(connection)) service.leave(connection);
    },
    (connection) => void settled.push(connection.id),
  );
});

describe("MemberChoice.first()", () => {
  test("decides nothing anew while the policy is the same", () => {
    expect(choice.first(service)?.client).toBe(members[0] as Connection);
    expect(decided).toEqual([]);
  });

  test("decides the right of a member that was not refreshed, once for each policy", () => {
    state.replacePolicy(ownUidPolicy(0));
    for (let times = 0; times < 3; times += 1) choice.first(service);
    expect(decided).toEqual([1]);
    state.replacePolicy(ownUidPolicy(0));
    choice.first(service);
    expect(decided).toEqual([1, 1]);
  });

  test("leaves out a member that may not serve any more", () => {
    barred.add(members[0] as Connection);
    state.replacePolicy(ownUidPolicy(0));
    expect(choice.first(service)?.client).toBe(members[1] as Connection);
    expect(decided).toEqual([1, 2]);
  });

  test("takes a member that is being refreshed for one that is not", () => {
    const [first] = members as [Connection];
    barred.add(first);
    state.replacePolicy(ownUidPolicy(0));
    first.policyGeneration = state.policyGeneration;
    first.chore = { next: () => ({ done: false, value: undefined }) };
    expect(choice.first(service)?.client).toBe(members[1] as Connection);
  });

  test("tells a member that it serves before anything is asked of it", () => {
    choice.first(service);
    expect(settled).toEqual([1]);
  });
});
