import { expect, test } from "bun:test";
import { BusState } from "../../../src/broker/bus-state.ts";
import type { BrokerEvent } from "../../../src/broker/events.ts";
import { FdGate } from "../../../src/broker/fd-gate.ts";
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
