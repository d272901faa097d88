/** What a bus with a full subscription tells its broker, and whoever waits for an answer. */

import { describe, expect, test } from "bun:test";
import {
  BEYOND_FULL_BYTES,
  CALL_TIMEOUT_MS_DEFAULT,
  STANDSTILL_MS,
} from "../../../src/client/limits.ts";
import { planReconnect } from "../../../src/client/reconnection.ts";
import { ENCODING, FLAG_RESUME, OPCODE } from "../../../src/protocol/opcodes.ts";
import { PEER, SimulatedBus } from "./simulated-bus.ts";

const TOPIC = 3;
const BODY_BYTES = 60_000;

/** A bus with a subscription that is full with one message. */
async function openFull() {
  const simulated = await SimulatedBus.open(planReconnect());
  const subscribing = simulated.bus.subscribe("flood", { overflow: "block", queueMessagesMax: 1 });
  const { id } = await simulated.sentOne(OPCODE.SUBSCRIBE);
  simulated.control(OPCODE.ACK, id, { subscription: 1 });
  simulated.control(OPCODE.TOPIC, TOPIC, { topic: "flood" });
  const messages = await subscribing;
  const receive = (bytes = BODY_BYTES) =>
    simulated.receive((writer) =>
      writer.append(OPCODE.MESSAGE, ENCODING.BYTES, 0, TOPIC, PEER, new Uint8Array(bytes)),
    );
  receive();
  return { simulated, messages, receive };
}

describe("a bus with a full subscription", () => {
  test("tells the broker to hold publishers back once it waits for news, and to go on", async () => {
    const { simulated, messages } = await openFull();
    expect(await simulated.sent()).toEqual([]);
    const waiting = simulated.bus.waitFor("never").catch(() => {});
    const [pause] = await simulated.sent();
    expect(pause).toMatchObject({ opcode: OPCODE.PAUSE, flags: 0 });
    await messages.next();
    expect(await simulated.sentOne(OPCODE.PAUSE)).toMatchObject({ flags: FLAG_RESUME });
    await simulated.bus.close();
    await waiting;
  });

  test("tells the next broker before it subscribes there", async () => {
    const { simulated } = await openFull();
    await simulated.lose();
    await simulated.comeBack();
    const frames = await simulated.sent();
    expect(frames.map(({ opcode }) => opcode)).toEqual([OPCODE.PAUSE, OPCODE.SUBSCRIBE]);
    await simulated.bus.close();
  });

  test("says no PAUSE to a broker that does not know it, and bounds what comes", async () => {
    const { simulated, messages, receive } = await openFull();
    simulated.features = 0;
    await simulated.lose();
    await simulated.comeBack();
    const { id } = await simulated.sentOne(OPCODE.SUBSCRIBE);
    simulated.control(OPCODE.ACK, id, { subscription: 1 });
    simulated.control(OPCODE.TOPIC, TOPIC, { topic: "flood" });
    const waiting = simulated.bus.waitFor("never").catch(() => {});
    expect((await simulated.sent()).map(({ opcode }) => opcode)).not.toContain(OPCODE.PAUSE);
    receive();
    expect(simulated.transport.isPaused).toBe(false);
    for (let bytes = 0; bytes <= BEYOND_FULL_BYTES; bytes += BODY_BYTES) receive();
    expect(simulated.transport.isPaused).toBe(true);
    while (messages.queued > 0) await messages.next();
    expect((await simulated.sent()).map(({ opcode }) => opcode)).not.toContain(OPCODE.PAUSE);
    expect(simulated.transport.isPaused).toBe(false);
    await simulated.bus.close();
    await waiting;
  });

  test("ends a subscription that nothing is taken of, so that what was asked is answered", async () => {
    const { simulated, messages, receive } = await openFull();
    const asking = simulated.bus.reloadPolicy();
    const [, reload] = await simulated.sent();
    for (let bytes = 0; bytes <= BEYOND_FULL_BYTES; bytes += BODY_BYTES) receive();
    const { queued } = messages;
    expect(simulated.transport.isPaused).toBe(true);
    simulated.clock.pass(STANDSTILL_MS);
    expect(simulated.transport.isPaused).toBe(false);
    simulated.control(OPCODE.ACK, reload?.id ?? 0, { rules: 5 });
    expect(await asking).toBe(5);
    for (let count = 0; count < queued; count += 1) await messages.next();
    expect(messages.next()).rejects.toMatchObject({ code: "LIMIT_SLOW_READER", actual: queued });
    await simulated.bus.close();
  });

  test("says of a call that got no answer that nothing was read, and why", async () => {
    const { simulated, messages, receive } = await openFull();
    const call = simulated.bus.call("service", 1);
    const [, open] = await simulated.sent();
    simulated.control(OPCODE.ACK, open?.id ?? 0, { service: 8, sendFds: true });
    for (let bytes = 0; bytes <= BEYOND_FULL_BYTES; bytes += BODY_BYTES) receive();
    simulated.clock.pass(CALL_TIMEOUT_MS_DEFAULT);
    const why = `: nothing is read while ${messages.queued} messages wait in the subscription to "flood"`;
    expect(call).rejects.toMatchObject({
      code: "TIMEOUT_CALL",
      message: expect.stringContaining(why),
    });
    await simulated.bus.close();
  });
});
