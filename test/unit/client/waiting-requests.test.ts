import { describe, expect, test } from "bun:test";
import { SERVICE_WAITING_BYTES_MAX, SERVICE_WAITING_FDS_MAX } from "../../../src/client/limits.ts";
import { type WaitingRequest, WaitingRequests } from "../../../src/client/waiting-requests.ts";
import { LARGE_BODY_BYTES_MAX } from "../../../src/protocol/limits.ts";

const HALF = SERVICE_WAITING_BYTES_MAX / 2;

function request(uid: number, byteLength: number, fdCount = 0): WaitingRequest {
  return { sender: { uid, connection: uid }, byteLength, fdCount };
}

describe("WaitingRequests", () => {
  test("has room for the largest request of a user of whom nothing waits", () => {
    const waiting = new WaitingRequests();
    expect(waiting.push(request(1, LARGE_BODY_BYTES_MAX + 1024 * 1024))).toBeUndefined();
  });

  test("gives each user half of the bytes that the others leave", () => {
    const waiting = new WaitingRequests();
    expect(waiting.push(request(1, HALF))).toBeUndefined();
    expect(waiting.push(request(1, 1))).toEqual({ limit: HALF, actual: HALF + 1 });
    expect(waiting.push(request(2, HALF / 2))).toBeUndefined();
    expect(waiting.push(request(2, 1))).toEqual({ limit: HALF / 2, actual: HALF / 2 + 1 });
    expect(waiting.push(request(3, 1))).toBeUndefined();
    expect(waiting.size).toBe(3);
  });

  test("gives each user half of the files that the others leave", () => {
    const waiting = new WaitingRequests();
    const half = SERVICE_WAITING_FDS_MAX / 2;
    expect(waiting.push(request(1, 1, half))).toBeUndefined();
    expect(waiting.push(request(1, 1, 1))).toEqual({ limit: half, actual: half + 1 });
    expect(waiting.push(request(1, 1))).toBeUndefined();
    expect(waiting.push(request(2, 1, half / 2))).toBeUndefined();
    expect(waiting.push(request(2, 1, 1))).toEqual({ limit: half / 2, actual: half / 2 + 1 });
  });

  test("has the room again of what was taken or given up", () => {
    const waiting = new WaitingRequests();
    const first = request(1, HALF, 1);
    waiting.push(first);
    expect(waiting.shift()).toBe(first);
    expect(waiting.delete(first)).toBe(false);
    expect(waiting.push(first)).toBeUndefined();
    expect(waiting.delete(first)).toBe(true);
    expect(waiting.shift()).toBeUndefined();
    expect(waiting.push(first)).toBeUndefined();
  });
});
