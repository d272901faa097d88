import { expect, test } from "bun:test";
import { Background } from "../../../src/broker/background.ts";
import { BusState } from "../../../src/broker/bus-state.ts";
import type { BrokerEvent } from "../../../src/broker/events.ts";
import { FdGate } from "../../../src/broker/fd-gate.ts";
import { SUBSCRIPTIONS_PER_STEP } from "../../../src/broker/limits.ts";
import { ownUidPolicy } from "../../../src/broker/policy/decide.ts";
import { Rights } from "../../../src/broker/rights.ts";
import { OPCODE } from "../../../src/protocol/opcodes.ts";
import { ConnectionBench } from "./connection-fixture.ts";

test("Rights.refresh() stops revoking where the client is closed because it does not read", () => {
  const state = new BusState(ownUidPolicy(1), () => {});
  const connection = new ConnectionBench().connect(1, 1);
  for (let count = 0; count < 10; count += 1) {
    connection.subscriptions.set(connection.nextSubscription(), `a.${count}`);
    state.subscribe(connection, `a.${count}`);
  }
  const events: BrokerEvent[] = [];
  const rights = new Rights({
    state,
    fdGate: new FdGate(false),
    areas: [],
    background: new Background(),
    send: (to, { opcode }) => {
      if (opcode === OPCODE.REVOKED && connection.subscriptions.size < 8) to.state = "DOOMED";
    },
    onEvent: (event) => events.push(event),
  });
  state.replacePolicy(ownUidPolicy(2));
  rights.refresh(connection);
  expect(events).toHaveLength(3);
  expect(connection.subscriptions.size).toBe(7);
});

test("Rights.refresh() looks at many subscriptions in steps, and drops them all in the end", () => {
  const state = new BusState(ownUidPolicy(1), () => {});
  const connection = new ConnectionBench().connect(1, 1);
  const count = 10_000;
  for (let number = 0; number < count; number += 1) {
    connection.subscriptions.set(connection.nextSubscription(), `a.${number}`);
    state.subscribe(connection, `a.${number}`);
  }
  const background = new Background();
  const rights = new Rights({
    state,
    fdGate: new FdGate(false),
    areas: [],
    background,
    send: () => {},
    onEvent: () => {},
  });
  state.replacePolicy(ownUidPolicy(2));
  rights.refresh(connection);
  expect(rights.areStale(connection)).toBe(false);
  expect(connection.subscriptions.size).toBe(count - SUBSCRIPTIONS_PER_STEP);
  let steps = 0;
  background.run(() => {
    steps += 1;
    return true;
  });
  expect(connection.subscriptions.size).toBe(0);
  expect(state.subscriptionCount).toBe(0);
  expect(steps).toBeGreaterThan(count / SUBSCRIPTIONS_PER_STEP - 2);
});
