import { describe, expect, test } from "bun:test";
import { SEND_QUEUE_BYTES_MAX } from "../../../../src/broker/sending/limits.ts";
import { REQUESTS_SHARED_FROM, RequestRoom } from "../../../../src/broker/services/request-room.ts";

const REST = SEND_QUEUE_BYTES_MAX - REQUESTS_SHARED_FROM;

/** A queue that is half full of what nobody counted, with a room for requests. */
class Queue {
  readonly room = new RequestRoom();
  queuedBytes = REQUESTS_SHARED_FROM;
  takenBytes = REQUESTS_SHARED_FROM;

  push(uid: number, bytes: number): boolean {
    if (!this.room.admit(uid, bytes, this)) return false;
    this.queuedBytes += bytes;
    this.takenBytes += bytes;
    return true;
  }

  /** Something else comes, which is no request. */
  take(bytes: number): void {
    this.queuedBytes += bytes;
    this.takenBytes += bytes;
  }

  leave(bytes: number): void {
    this.queuedBytes -= bytes;
  }
}

describe("RequestRoom", () => {
  test("gives each user half of what the others leave, and says so", () => {
    const queue = new Queue();
    expect(queue.push(7, REST / 2)).toBe(true);
    expect(queue.push(7, 16)).toBe(false);
    expect(queue.room.refusal).toEqual({ limit: REST / 2, actual: REST / 2 + 16 });
    expect(queue.push(8, REST / 4)).toBe(true);
    expect(queue.push(8, 16)).toBe(false);
    expect(queue.push(9, REST / 8)).toBe(true);
    expect(queue.push(9, 16)).toBe(false);
  });

  test("has room again for what has left the queue", () => {
    const queue = new Queue();
    queue.push(7, REST / 4);
    queue.push(7, REST / 4);
    queue.leave(REQUESTS_SHARED_FROM);
    queue.take(REQUESTS_SHARED_FROM);
    // As much of it as before is somebody else's.
    expect(queue.push(7, 16)).toBe(false);
    queue.leave(REST / 4);
    queue.leave(REST / 4);
    queue.take(REST / 2);
    expect(queue.push(7, 16)).toBe(true);
  });

  test("never lets a user have more than half, however long it goes on", () => {
    const queue = new Queue();
    queue.queuedBytes = 0;
    queue.takenBytes = 0;
    const own: number[] = [];
    const most = SEND_QUEUE_BYTES_MAX / 2;
    for (let round = 0; round < 5_000; round += 1) {
      const bytes = 16 * (1 + ((round * 7_919) % 4_000));
      if (queue.push(7, bytes)) own.push(bytes);
      else queue.leave(own.shift() ?? 0);
      expect(queue.queuedBytes).toBeLessThanOrEqual(most);
      // And always has a quarter of that, since nothing else is there.
      if (queue.queuedBytes <= most / 4) expect(queue.push(7, 0)).toBe(true);
    }
    expect(queue.takenBytes).toBeGreaterThan(10 * SEND_QUEUE_BYTES_MAX);
  });
});
