/** The status event `fds-lost`, for whatever came with fewer fds than were sent. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { StatusEvent } from "../../../src/client/status.ts";
import { ENCODING, FLAG_FDS_ON_LANE, FLAG_LARGE, OPCODE } from "../../../src/protocol/opcodes.ts";
import { TestFiles } from "../../support/test-files.ts";
import { SERVICE, serveOn } from "./serving-fixture.ts";
import { PEER, SimulatedBus, splitPrefix } from "./simulated-bus.ts";

const TOPIC = 5;
const ON_LANE = { flags: FLAG_FDS_ON_LANE, fdCount: 3 };

let simulated: SimulatedBus;
let events: AsyncIterableIterator<StatusEvent>;

beforeEach(async () => {
  simulated = await SimulatedBus.open();
  events = simulated.bus.status();
});

afterEach(async () => {
  await simulated.lose();
});

/** Of three fds that were sent with the next frame one is here; the bus closes it. */
function loseTwo(): void {
  const [fd = -1] = new TestFiles(["the only one"]).fds;
  simulated.transport.lane.push([fd]);
}

/** The topic is announced, and a message with three fds comes on it. */
function message(flags: number, body: Uint8Array): void {
  simulated.control(OPCODE.TOPIC, TOPIC, { topic: "a.b" });
  loseTwo();
  simulated.receive((writer) => writer.append(OPCODE.MESSAGE, flags, 3, TOPIC, PEER, body));
}

async function expectTwoLost(): Promise<void> {
  expect((await events.next()).value).toEqual({ type: "fds-lost", topic: "a.b", count: 2 });
}

describe("Bus.status() tells of fds that were lost", () => {
  test("with a message", async () => {
    message(ENCODING.TEXT | FLAG_FDS_ON_LANE, new Uint8Array(3));
    await expectTwoLost();
  });

  test("beside the body of a large message", async () => {
    const size = new Uint8Array(new BigUint64Array([12n]).buffer);
    message(ENCODING.TEXT | FLAG_FDS_ON_LANE | FLAG_LARGE, size);
    await expectTwoLost();
  });

  test("with an answer", async () => {
    const answer = simulated.bus.call("a.b", 1);
    const open = await simulated.sentOne(OPCODE.OPEN_SERVICE);
    simulated.control(OPCODE.ACK, open.id, { service: SERVICE, sendFds: true });
    const [call] = splitPrefix((await simulated.sentOne(OPCODE.REQUEST)).body);
    loseTwo();
    simulated.reply(call, "here", ON_LANE);
    await expectTwoLost();
    using reply = await answer;
    expect(reply.fds).toHaveLength(1);
  });

  test("with a request", async () => {
    await serveOn(simulated, ({ fds }) => fds.length);
    loseTwo();
    simulated.request(SERVICE, 1, "look", ON_LANE);
    await expectTwoLost();
  });

  test("with a channel that somebody opened", async () => {
    await serveOn(simulated, () => 1, { onChannel: () => {} });
    const channel = { service: "a.b", peer: PEER };
    simulated.transport.lane.push([]);
    simulated.receive((writer) =>
      writer.appendControl(OPCODE.CHANNEL, FLAG_FDS_ON_LANE, 0, channel, 2),
    );
    await expectTwoLost();
  });
});
