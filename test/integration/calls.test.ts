/** Calls as a client on the wire sees them: each way in which one can end, exactly once. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { STREAM_CREDIT_START } from "../../src/protocol/limits.ts";
import {
  ENCODING,
  FLAG_CALLER_GONE,
  FLAG_FAILED,
  FLAG_MORE,
  FLAG_STREAM,
  FLAG_TIMED_OUT,
  OPCODE,
} from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import {
  appendRequest,
  mapOf,
  packetOf,
  RawClient,
  requestOf,
  textOf,
} from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";

let broker: SpawnedBroker;
let services = 0;

beforeAll(async () => {
  broker = await spawnBroker();
});

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
});

/** A caller and one that serves what the caller has open. */
class Pair implements Disposable {
  readonly caller: RawClient;
  readonly responder: RawClient;
  readonly name: string;
  readonly id: number;

  private constructor(caller: RawClient, responder: RawClient, name: string, id: number) {
    this.caller = caller;
    this.responder = responder;
    this.name = name;
    this.id = id;
  }

  static async open(): Promise<Pair> {
    services += 1;
    const name = `service.${services}`;
    const caller = await RawClient.open(broker.path);
    const responder = await RawClient.open(broker.path);
    await responder.serve(name);
    return new Pair(caller, responder, name, await caller.openService(name));
  }

  /** Sends a request. @returns the number under which the responder got it */
  async request(call: number, body = "?", flags = 0): Promise<number> {
    this.caller.sendRequest(this.id, call, body, flags);
    return requestOf(await this.responder.nextOf(OPCODE.REQUEST)).call;
  }

  /** What the caller gets to know of a call that fails. */
  async failure(call: number): Promise<unknown> {
    const frame = await this.caller.nextOf(OPCODE.ERROR);
    expect(frame.id).toBe(call);
    return mapOf(frame)["status"];
  }

  /** Nothing but what was read has been sent to either. */
  async expectSilence(): Promise<void> {
    for (const client of [this.caller, this.responder]) {
      await client.sync();
      expect(client.received()).toEqual([]);
    }
  }

  [Symbol.dispose](): void {
    this.caller[Symbol.dispose]();
    this.responder[Symbol.dispose]();
  }
}

describe("a call", () => {
  test("reaches who serves and comes back, both introduced before", async () => {
    using pair = await Pair.open();
    const { caller, responder, id, name } = pair;
    caller.send(
      packetOf((writer) =>
        appendRequest(writer, { serviceId: id, call: 77, body: "what?", flags: 1, timeoutMs: 500 }),
      ),
    );
    const [topic, sender, request] = [
      await responder.next(),
      await responder.next(),
      await responder.next(),
    ];
    expect(topic).toMatchObject({ opcode: OPCODE.TOPIC, id });
    expect(mapOf(topic)["topic"]).toBe(name);
    expect(sender).toMatchObject({ opcode: OPCODE.SENDER, id: caller.connection });
    expect(request).toMatchObject({
      opcode: OPCODE.REQUEST,
      flags: ENCODING.TEXT,
      id,
      origin: caller.connection,
    });
    expect(requestOf(request)).toEqual({ call: 1, timeoutMs: 500, text: "what?" });
    responder.sendReply(1, "that", ENCODING.JSON);
    expect(await caller.next()).toMatchObject({ opcode: OPCODE.SENDER, id: responder.connection });
    const reply = await caller.next();
    const header = { opcode: OPCODE.REPLY, flags: ENCODING.JSON, origin: responder.connection };
    expect(reply).toMatchObject({ ...header, id: 77 });
    expect(textOf(reply)).toBe("that");
    await pair.expectSilence();
  });

  test("may be one of many in a packet, also beside messages and other frames", async () => {
    using pair = await Pair.open();
    const { caller, responder, id } = pair;
    const topic = await caller.openTopic("calls.beside");
    await responder.subscribe("calls.beside");
    const body = new TextEncoder().encode("m");
    caller.send(
      packetOf((writer) => {
        for (let call = 1; call <= 200; call += 1) {
          appendRequest(writer, { serviceId: id, call, body: `a${call}` });
        }
      }),
    );
    caller.send(
      packetOf((writer) => {
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, body);
        appendRequest(writer, { serviceId: id, call: 201, body: "a201" });
        writer.appendControl(OPCODE.CANCEL, 0, 7, undefined);
        writer.append(OPCODE.MESSAGE, 0, 0, topic, 0, body);
      }),
    );
    const requests: number[] = [];
    while (requests.length < 201) {
      const { call, text } = requestOf(await responder.nextOf(OPCODE.REQUEST));
      expect(text).toBe(`a${call}`);
      requests.push(call);
    }
    expect(requests).toEqual(Array.from({ length: 201 }, (_, index) => index + 1));
    expect(await responder.nextOf(OPCODE.CANCEL)).toMatchObject({ id: 7 });
    expect(textOf(await responder.nextOf(OPCODE.MESSAGE))).toBe("m");
    responder.send(
      packetOf((writer) => {
        for (const request of requests.toReversed()) {
          writer.append(OPCODE.REPLY, 0, 0, request, 0, undefined);
        }
      }),
    );
    const answered: number[] = [];
    while (answered.length < 200) answered.push((await caller.nextOf(OPCODE.REPLY)).id);
    expect(answered).toEqual(requests.toReversed().filter((call) => call !== 7));
    await pair.expectSilence();
  });

  test("may be one to oneself", async () => {
    using client = await RawClient.open(broker.path);
    const id = await client.serve("service.own");
    expect(await client.openService("service.own")).toBe(id);
    client.sendRequest(id, 9, "me");
    const { call } = requestOf(await client.nextOf(OPCODE.REQUEST));
    client.sendReply(call, "you");
    expect(await client.nextOf(OPCODE.REPLY)).toMatchObject({ id: 9, origin: client.connection });
  });

  test("passes a failure on as it is", async () => {
    using pair = await Pair.open();
    pair.responder.sendReply(await pair.request(1), '{"code":"E"}', FLAG_FAILED | ENCODING.JSON);
    const reply = await pair.caller.nextOf(OPCODE.REPLY);
    expect(reply).toMatchObject({ id: 1, flags: FLAG_FAILED | ENCODING.JSON });
    expect(textOf(reply)).toBe('{"code":"E"}');
  });

  test("fails at once where nobody serves", async () => {
    using caller = await RawClient.open(broker.path);
    const id = await caller.openService("service.nobody");
    caller.sendRequest(id, 5, "?");
    const error = await caller.nextOf(OPCODE.ERROR);
    expect(error).toMatchObject({ id: 5, flags: 0 });
    expect(mapOf(error)).toEqual({
      status: STATUS.REJECTED_NO_SERVICE,
      message: 'Cannot call "service.nobody": nobody serves it',
      topic: "service.nobody",
    });
  });

  test("fails when who serves goes away, and the reply of nobody else is taken", async () => {
    using pair = await Pair.open();
    await pair.request(1);
    await pair.request(2);
    pair.responder.socket.close();
    expect(await pair.failure(1)).toBe(STATUS.CLOSED_BY_SERVICE);
    expect(await pair.failure(2)).toBe(STATUS.CLOSED_BY_SERVICE);
    pair.caller.sendRequest(pair.id, 3, "?");
    expect(await pair.failure(3)).toBe(STATUS.REJECTED_NO_SERVICE);
  });

  test("can still be answered after UNSERVE and CLOSE_SERVICE", async () => {
    using pair = await Pair.open();
    const request = await pair.request(1);
    await pair.responder.request(OPCODE.UNSERVE, { service: pair.id });
    pair.caller.sendControl(OPCODE.CLOSE_SERVICE, pair.id);
    await pair.caller.sync();
    pair.responder.sendReply(request, "late");
    expect(textOf(await pair.caller.nextOf(OPCODE.REPLY))).toBe("late");
    await pair.expectSilence();
  });

  test("is cancelled at the service when the caller gives up or goes", async () => {
    using pair = await Pair.open();
    const [first, second, third] = [
      await pair.request(1),
      await pair.request(2),
      await pair.request(3),
    ];
    const { caller, responder } = pair;
    caller.send(
      packetOf((writer) => writer.appendControl(OPCODE.CANCEL, FLAG_TIMED_OUT, 1, undefined)),
    );
    expect(await responder.next()).toMatchObject({
      opcode: OPCODE.CANCEL,
      flags: FLAG_TIMED_OUT,
      id: first,
    });
    caller.sendControl(OPCODE.CANCEL, 2);
    expect(await responder.next()).toMatchObject({ opcode: OPCODE.CANCEL, flags: 0, id: second });
    responder.sendReply(first, "late");
    await responder.sync();
    caller.sendControl(OPCODE.CANCEL, 2);
    caller.sendControl(OPCODE.CANCEL, 4_000);
    await pair.expectSilence();
    caller.socket.close();
    expect(await responder.next()).toMatchObject({
      opcode: OPCODE.CANCEL,
      flags: FLAG_CALLER_GONE,
      id: third,
    });
    expect(await responder.next()).toMatchObject({
      opcode: OPCODE.SENDER_GONE,
      id: caller.connection,
    });
  });

  test("may use the number of one that is over again", async () => {
    using pair = await Pair.open();
    const { caller, responder, id } = pair;
    const old = await pair.request(1);
    caller.send(
      packetOf((writer) => {
        writer.appendControl(OPCODE.CANCEL, 0, 1, undefined);
        appendRequest(writer, { serviceId: id, call: 1, body: "again" });
      }),
    );
    const request = requestOf(await responder.nextOf(OPCODE.REQUEST));
    expect(request).toMatchObject({ call: old + 1, text: "again" });
    responder.sendReply(old, "old");
    responder.sendReply(request.call, "new");
    expect(textOf(await caller.nextOf(OPCODE.REPLY))).toBe("new");
  });
});

describe("a reply in parts", () => {
  test("comes within the credit, and ends with the last one", async () => {
    using pair = await Pair.open();
    const { caller, responder } = pair;
    const request = await pair.request(1, "?", FLAG_STREAM);
    for (let part = 0; part < STREAM_CREDIT_START; part += 1) {
      responder.sendReply(request, `p${part}`, FLAG_MORE);
    }
    for (let part = 0; part < STREAM_CREDIT_START; part += 1) {
      const reply = await caller.nextOf(OPCODE.REPLY);
      expect(reply).toMatchObject({ id: 1, flags: FLAG_MORE });
      expect(textOf(reply)).toBe(`p${part}`);
    }
    caller.sendControl(OPCODE.CREDIT, 1, { count: 2 });
    const credit = await responder.nextOf(OPCODE.CREDIT);
    expect(credit.id).toBe(request);
    expect(mapOf(credit)).toEqual({ count: 2 });
    responder.sendReply(request, "a", FLAG_MORE);
    responder.sendReply(request, "b", FLAG_MORE);
    responder.sendReply(request, "");
    const flags = [];
    for (let part = 0; part < 3; part += 1) flags.push((await caller.nextOf(OPCODE.REPLY)).flags);
    expect(flags).toEqual([FLAG_MORE, FLAG_MORE, 0]);
    caller.sendControl(OPCODE.CREDIT, 1, { count: 2 });
    await pair.expectSilence();
  });

  test("ends the call where it is beyond the credit, and the service is told to stop", async () => {
    using pair = await Pair.open();
    const request = await pair.request(1, "?", FLAG_STREAM);
    for (let part = 0; part <= STREAM_CREDIT_START; part += 1) {
      pair.responder.sendReply(request, "", FLAG_MORE);
    }
    expect(await pair.failure(1)).toBe(STATUS.REJECTED_REPLY);
    expect(await pair.responder.next()).toMatchObject({ opcode: OPCODE.CANCEL, id: request });
    pair.responder.sendReply(request, "late");
    await pair.expectSilence();
  });

  test("ends the call where the caller takes none", async () => {
    using pair = await Pair.open();
    const request = await pair.request(1);
    pair.responder.sendReply(request, "", FLAG_MORE);
    expect(await pair.failure(1)).toBe(STATUS.REJECTED_REPLY);
    expect(await pair.responder.next()).toMatchObject({ opcode: OPCODE.CANCEL, id: request });
  });

  test("is no failure that goes on", async () => {
    using pair = await Pair.open();
    const request = await pair.request(1, "?", FLAG_STREAM);
    pair.responder.sendReply(request, "", FLAG_MORE | FLAG_FAILED);
    expect(await pair.failure(1)).toBe(STATUS.REJECTED_REPLY);
  });
});

describe("a shared service", () => {
  test("gives each request to the member with the fewest unanswered ones", async () => {
    const members = [
      await RawClient.open(broker.path),
      await RawClient.open(broker.path),
      await RawClient.open(broker.path),
    ];
    using caller = await RawClient.open(broker.path);
    for (const member of members) await member.serve("service.shared", { shared: true });
    const id = await caller.openService("service.shared");
    for (let call = 1; call <= 6; call += 1) caller.sendRequest(id, call, String(call));
    const texts: string[][] = [];
    const last: number[] = [];
    for (const member of members) {
      const requests = [
        requestOf(await member.nextOf(OPCODE.REQUEST)),
        requestOf(await member.nextOf(OPCODE.REQUEST)),
      ];
      texts.push(requests.map(({ text }) => text));
      last.push(requests[1]?.call ?? 0);
    }
    expect(texts).toEqual([
      ["1", "4"],
      ["2", "5"],
      ["3", "6"],
    ]);
    const [, second] = members;
    second?.sendReply(last[1] ?? 0, "done");
    await caller.nextOf(OPCODE.REPLY);
    caller.sendRequest(id, 7, "7");
    expect(requestOf(await (second as RawClient).nextOf(OPCODE.REQUEST)).text).toBe("7");
    for (const member of members) member[Symbol.dispose]();
  });
});

describe("a client that breaks the rules of calls", () => {
  const ends = async (client: RawClient): Promise<unknown> => {
    const fatal = (await client.untilEnd()).findLast(({ opcode }) => opcode === OPCODE.ERROR);
    return fatal === undefined ? undefined : mapOf(fatal)["status"];
  };

  test("is closed for a call with the number 0", async () => {
    using pair = await Pair.open();
    pair.caller.sendRequest(pair.id, 0, "?");
    expect(await ends(pair.caller)).toBe(STATUS.PROTOCOL_REQUEST_ID);
  });

  test("is closed for a second call under the same number", async () => {
    using pair = await Pair.open();
    const request = await pair.request(1);
    pair.caller.sendRequest(pair.id, 1, "?");
    expect(await ends(pair.caller)).toBe(STATUS.PROTOCOL_REQUEST_ID);
    expect(await pair.responder.next()).toMatchObject({
      opcode: OPCODE.CANCEL,
      flags: FLAG_CALLER_GONE,
      id: request,
    });
  });

  test("is closed for a service that it has not opened, and nothing of the packet is done", async () => {
    using pair = await Pair.open();
    const { caller, responder, id } = pair;
    caller.send(
      packetOf((writer) => {
        appendRequest(writer, { serviceId: id, call: 1, body: "" });
        appendRequest(writer, { serviceId: id + 1_000, call: 2, body: "" });
      }),
    );
    expect(await ends(caller)).toBe(STATUS.PROTOCOL_TOPIC_ID);
    await responder.sync();
    expect(responder.received()).toEqual([]);
  });

  test("is closed for using or closing a service that it has closed", async () => {
    for (const opcode of [OPCODE.CLOSE_SERVICE, OPCODE.REQUEST]) {
      using pair = await Pair.open();
      const { caller, id } = pair;
      caller.send(
        packetOf((writer) => {
          writer.appendControl(OPCODE.CLOSE_SERVICE, 0, id, undefined);
          if (opcode === OPCODE.REQUEST) {
            appendRequest(writer, { serviceId: id, call: 1, body: "" });
          } else writer.appendControl(opcode, 0, id, undefined);
        }),
      );
      expect(await ends(caller)).toBe(STATUS.PROTOCOL_TOPIC_ID);
    }
  });

  test("is closed for a reply to what never was asked", async () => {
    using pair = await Pair.open();
    const request = await pair.request(1);
    pair.responder.sendReply(request + 1, "?");
    expect(await ends(pair.responder)).toBe(STATUS.PROTOCOL_REQUEST_ID);
    expect(await pair.failure(1)).toBe(STATUS.CLOSED_BY_SERVICE);
    using other = await RawClient.open(broker.path);
    other.sendReply(1, "?");
    expect(await ends(other)).toBe(STATUS.PROTOCOL_REQUEST_ID);
  });
});
