/** Which topics a publisher keeps open, where it publishes on more than there is room for. */

import { beforeEach, describe, expect, test } from "bun:test";
import { OPEN_TOPICS_MAX } from "../../../src/client/limits.ts";
import { Outbound } from "../../../src/client/outbound.ts";
import { Publisher } from "../../../src/client/publisher.ts";
import { LimitError, RejectedError } from "../../../src/errors.ts";
import { OPCODE } from "../../../src/protocol/opcodes.ts";
import { SimulatedTransport } from "./simulated-transport.ts";

/** Has room for so many topics, and denies those whose names begin with "denied". */
class SmallBroker {
  readonly transport = new SimulatedTransport();
  readonly publisher: Publisher;
  readonly denied: string[] = [];
  /** Names of the messages' topics with their bodies, as they came. */
  readonly messages: string[] = [];
  mostOpen = 0;
  refusals = 0;
  asks = 0;
  readonly #outbound = new Outbound(() => {});
  readonly #open = new Map<number, string>();
  readonly #room: number;
  readonly #asked: (() => void)[] = [];
  #lastId = 0;
  #seen = 0;

  constructor(room: number) {
    this.#room = room;
    this.#outbound.attach(this.transport);
    const ask = (name: string) =>
      new Promise<number>((grant, refuse) => {
        this.#asked.push(() => this.#answer(name, grant, refuse));
      });
    this.publisher = new Publisher(this.#outbound, ask, (error) => {
      this.denied.push((error as LimitError | RejectedError).code);
    });
  }

  say(topic: string, text: string): void {
    this.publisher.publish(topic, text);
  }

  /** Takes what was sent and answers, until nothing comes any more. */
  async serve(): Promise<void> {
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      this.#outbound.flush();
      this.#take();
      const asked = this.#asked.splice(0);
      if (asked.length === 0) return;
      for (const answer of asked) answer();
    }
  }

  #take(): void {
    const frames = this.transport.frames();
    for (const { opcode, id, body } of frames.slice(this.#seen)) {
      const name = this.#open.get(id);
      if (name === undefined) throw new Error(`The topic ${id} is not open`);
      if (opcode === OPCODE.CLOSE_TOPIC) this.#open.delete(id);
      else this.messages.push(`${name}=${new TextDecoder().decode(body)}`);
    }
    this.#seen = frames.length;
  }

  #answer(name: string, grant: (id: number) => void, refuse: (error: Error) => void): void {
    this.asks += 1;
    if (name.startsWith("denied")) {
      const fields = { status: 32, topic: name };
      return refuse(new RejectedError("REJECTED_BY_POLICY", "no", fields));
    }
    if (this.#open.size >= this.#room) {
      this.refusals += 1;
      return refuse(
        new LimitError("LIMIT_TOPICS", "full", { limit: this.#room, actual: this.#room }),
      );
    }
    this.#lastId += 1;
    this.#open.set(this.#lastId, name);
    this.mostOpen = Math.max(this.mostOpen, this.#open.size);
    grant(this.#lastId);
  }
}

function manyNames(count: number, prefix = "t"): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}.n${index}`);
}

const MANY = manyNames(2 * OPEN_TOPICS_MAX + 100);

let broker: SmallBroker;

beforeEach(() => {
  broker = new SmallBroker(OPEN_TOPICS_MAX);
});

describe("a publisher with more topics than may be open", () => {
  test("publishes on all of them in order, in one tick", async () => {
    for (const name of MANY) broker.say(name, "1");
    await broker.serve();
    expect(broker.messages).toEqual(MANY.map((name) => `${name}=1`));
    expect([broker.mostOpen, broker.refusals]).toEqual([OPEN_TOPICS_MAX, 0]);
  });

  test("does so again and again, also where each topic is waited for", async () => {
    const rounds = ["1", "2", "3"];
    for (const round of rounds) for (const name of MANY) broker.say(name, round);
    await broker.serve();
    expect(broker.messages).toEqual(
      rounds.flatMap((round) => MANY.map((name) => `${name}=${round}`)),
    );
    expect(broker.denied).toEqual([]);
  });

  test("makes do with the room that the broker has", async () => {
    broker = new SmallBroker(7);
    const names = manyNames(100);
    for (const name of [...names, ...names]) broker.say(name, "1");
    await broker.serve();
    expect(broker.messages).toEqual([...names, ...names].map((name) => `${name}=1`));
    const { refusals } = broker;
    for (const name of names) broker.say(name, "2");
    await broker.serve();
    expect(broker.messages.slice(-100)).toEqual(names.map((name) => `${name}=2`));
    expect(broker.refusals).toBe(refusals);
  });

  test("is told LIMIT_TOPICS where there is no room even for one, and may try again", async () => {
    broker = new SmallBroker(0);
    for (const name of manyNames(5)) broker.say(name, "1");
    await broker.serve();
    expect(broker.denied).toEqual(new Array(5).fill("LIMIT_TOPICS"));
    broker.say("t.n0", "2");
    await broker.serve();
    expect(broker.denied).toHaveLength(6);
  });

  test("is not held up by as many that are denied", async () => {
    const denied = manyNames(OPEN_TOPICS_MAX, "denied");
    for (const name of [...denied, "t", ...denied, "u"]) broker.say(name, "1");
    await broker.serve();
    expect(broker.messages).toEqual(["t=1", "u=1"]);
    expect(broker.denied).toHaveLength(2 * OPEN_TOPICS_MAX);
    expect(broker.asks).toBe(OPEN_TOPICS_MAX + 2);
  });

  test("asks for none where the message itself is refused", async () => {
    const options = { encoding: "bytes" } as const;
    for (const name of MANY) expect(() => broker.publisher.publish(name, 7, options)).toThrow();
    await broker.serve();
    expect(broker.mostOpen).toBe(0);
    broker.say("t", "1");
    await broker.serve();
    expect(broker.messages).toEqual(["t=1"]);
  });
});
