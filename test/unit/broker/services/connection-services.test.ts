import { expect, test } from "bun:test";
import {
  ConnectionServices,
  type PendingCall,
} from "../../../../src/broker/services/connection-services.ts";

const CALL_MAX = 0xffff_ffff;

test("ConnectionServices.nextRequest() counts up, and knows what it has given", () => {
  const one = new ConnectionServices(0);
  expect(one.wasRequested(1)).toBe(false);
  expect([one.nextRequest(), one.nextRequest()]).toEqual([1, 2]);
  expect([0, 1, 2, 3].map((request) => one.wasRequested(request))).toEqual([
    false,
    true,
    true,
    false,
  ]);
});

test("ConnectionServices.nextRequest() starts again when all are used, past those unanswered", () => {
  const one = new ConnectionServices(CALL_MAX - 1);
  one.requests.set(1, {} as PendingCall);
  expect([one.nextRequest(), one.nextRequest()]).toEqual([CALL_MAX, 2]);
  expect(one.wasRequested(CALL_MAX - 5)).toBe(true);
  expect(one.wasRequested(0)).toBe(false);
});
