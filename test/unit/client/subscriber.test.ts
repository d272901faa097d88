import { describe, expect, test } from "bun:test";
import { Inbound, type InboundHost } from "../../../src/client/inbound.ts";
import { Subscriber } from "../../../src/client/subscriber.ts";
import { LimitError, RejectedError } from "../../../src/errors.ts";
import { encodeControlBody } from "../../../src/protocol/control-body.ts";
import { subscribeAckBody } from "../../../src/protocol/control-messages.ts";
import { OPCODE } from "../../../src/protocol/opcodes.ts";
import { STATUS } from "../../../src/protocol/status-codes.ts";

function ackOf(subscription: number): Uint8Array {
  const target = new Uint8Array(64);
  return target.subarray(0, encodeControlBody(subscribeAckBody({ subscription }), target, 0));
}

/** A broker that grants every subscription, and answers UNSUBSCRIBE with an error. */
function subscriberWhoseEndFailsWith(error: Error): { subscriber: Subscriber; asked: number[] } {
  const asked: number[] = [];
  const request = (opcode: number) => {
    asked.push(opcode);
    return opcode === OPCODE.SUBSCRIBE ? Promise.resolve(ackOf(7)) : Promise.reject(error);
  };
  const subscriber = new Subscriber(new Inbound({} as InboundHost), request, {
    noteLost: () => {},
    noteFill: () => {},
    noteTaken: () => {},
    noteEnded: () => {},
  });
  return { subscriber, asked };
}

const REVOKED_BEFORE = new RejectedError("REJECTED_SUBSCRIPTION", "Cannot unsubscribe", {
  status: STATUS.REJECTED_SUBSCRIPTION,
});
const BUS_ENDED = new LimitError("LIMIT_CONNECTIONS", "Cannot serve client", {
  limit: 1,
  actual: 1,
});

describe("Subscriber.unsubscribe()", () => {
  for (const error of [REVOKED_BEFORE, BUS_ENDED]) {
    test(`is content where the answer is ${error.code}, since nothing comes any more`, async () => {
      const { subscriber, asked } = subscriberWhoseEndFailsWith(error);
      const subscription = await subscriber.subscribe("a", {});
      await subscription.close();
      expect(asked).toEqual([OPCODE.SUBSCRIBE, OPCODE.UNSUBSCRIBE]);
      expect(await subscription.next()).toEqual({ done: true, value: undefined });
    });
  }
});
