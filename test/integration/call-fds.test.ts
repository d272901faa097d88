/** Files and large bodies in requests and replies: both ways, withheld, refused, and never leaked. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { OwnedFd } from "../../src/ffi/owned-fd.ts";
import { openSeqpacket } from "../../src/ffi/seqpacket.ts";
import { setPassRights } from "../../src/ffi/socket-options.ts";
import {
  FLAG_FDS_WITHHELD,
  FLAG_LARGE,
  FLAG_MORE,
  FLAG_STREAM,
  OPCODE,
} from "../../src/protocol/opcodes.ts";
import { STATUS } from "../../src/protocol/status-codes.ts";
import { testUnless } from "../support/loud-skip.ts";
import { HAS_PRLIMIT, leaveFds, NO_PRLIMIT } from "../support/open-files.ts";
import {
  appendRequest,
  mapOf,
  packetOf,
  RawClient,
  type RawFrame,
  requestOf,
} from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { numberedTexts, readText, TestFiles, takeTexts } from "../support/test-files.ts";
import { countingBytes, memoryOf } from "../support/test-memory.ts";

const FDS_MAX = 253;
const BYTES = 100_000;

const POLICY = `
[[rule]]
id = "all"
allow = ["publish", "subscribe", "call", "serve", "send-fds", "receive-fds"]
topics = [">"]
any = true

[[rule]]
id = "no-sending"
deny = ["send-fds"]
topics = ["mute.>"]
any = true

[[rule]]
id = "no-receiving"
deny = ["receive-fds"]
topics = ["deaf.>", "whole.>"]
any = true

[[topic]]
topics = ["whole.>"]
fds-denied = "drop"
`;

let broker: SpawnedBroker;
let fdsAlone: number;

beforeAll(async () => {
  broker = await spawnBroker({ policy: POLICY });
  fdsAlone = await broker.fdsAtRest();
});

afterEach(async () => {
  await broker.expectFds(fdsAlone);
});

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
});

async function open(options = {}): Promise<RawClient> {
  return await RawClient.open(broker.path, options);
}

function sendRequest(
  client: RawClient,
  serviceId: number,
  call: number,
  fds: readonly number[],
  flags = 0,
): void {
  const fields = { serviceId, call, body: "files", fdCount: fds.length, flags };
  client.send(
    packetOf((writer) => appendRequest(writer, fields)),
    fds,
  );
}

function sendReply(client: RawClient, request: number, fds: readonly number[], flags = 0): void {
  const body = new Uint8Array(1);
  client.send(
    packetOf((writer) => writer.append(OPCODE.REPLY, flags, fds.length, request, 0, body)),
    fds,
  );
}

function sizeOf(byteLength: number): Uint8Array {
  const size = new Uint8Array(8);
  new DataView(size.buffer).setBigUint64(0, BigInt(byteLength), true);
  return size;
}

function sendLargeRequest(client: RawClient, serviceId: number, call: number, fd: number): void {
  const fields = { serviceId, call, body: sizeOf(BYTES), flags: FLAG_LARGE, fdCount: 1 };
  client.send(
    packetOf((writer) => appendRequest(writer, fields)),
    [fd],
  );
}

function sendLargeReply(client: RawClient, request: number, fd: number, flags = 0): void {
  const all = FLAG_LARGE | flags;
  const size = sizeOf(BYTES);
  client.send(
    packetOf((writer) => writer.append(OPCODE.REPLY, all, 1, request, 0, size)),
    [fd],
  );
}

function errorOf(frame: RawFrame): unknown {
  return { id: frame.id, ...mapOf(frame) };
}

describe("files in a call", () => {
  test.each([false, true])("go there and back, the lane in use: %p", async (lane) => {
    using caller = await open({ lane });
    using responder = await open({ lane });
    await responder.serve("files.one");
    const id = await caller.openService("files.one");
    const texts = numberedTexts("file", FDS_MAX);
    using files = new TestFiles(texts);
    sendRequest(caller, id, 1, files.fds);
    const request = await responder.nextOf(OPCODE.REQUEST);
    expect(requestOf(request)).toMatchObject({ call: 1, text: "files" });
    expect(takeTexts(request.fds)).toEqual(texts);
    sendReply(responder, 1, files.fds.slice(0, 2));
    const reply = await caller.nextOf(OPCODE.REPLY);
    expect(reply).toMatchObject({ id: 1, fdCount: 2 });
    expect(takeTexts(reply.fds)).toEqual(texts.slice(0, 2));
  });

  test("are refused where the sender may send none, and the call ends", async () => {
    using caller = await open();
    using responder = await open();
    await responder.serve("mute.one");
    const id = await caller.openService("mute.one");
    using files = new TestFiles(["a"]);
    sendRequest(caller, id, 1, files.fds);
    expect(errorOf(await caller.nextOf(OPCODE.ERROR))).toMatchObject({
      id: 1,
      status: STATUS.REJECTED_BY_POLICY,
      rule: "no-sending",
    });
    caller.sendRequest(id, 2, "no files", FLAG_STREAM);
    const { call } = requestOf(await responder.nextOf(OPCODE.REQUEST));
    sendReply(responder, call, files.fds, FLAG_MORE);
    expect(errorOf(await responder.nextOf(OPCODE.ERROR))).toMatchObject({
      id: 0,
      status: STATUS.REJECTED_BY_POLICY,
    });
    expect(await responder.next()).toMatchObject({ opcode: OPCODE.CANCEL, id: call });
    expect(errorOf(await caller.nextOf(OPCODE.ERROR))).toMatchObject({
      id: 2,
      status: STATUS.REJECTED_REPLY,
    });
  });

  test("of a kind that the topic does not take are refused with the kind", async () => {
    using caller = await open();
    using responder = await open();
    await responder.serve("files.kind");
    const id = await caller.openService("files.kind");
    using socket = OwnedFd.adopt(openSeqpacket());
    sendRequest(caller, id, 1, [socket.number]);
    expect(errorOf(await caller.nextOf(OPCODE.ERROR))).toMatchObject({
      id: 1,
      status: STATUS.REJECTED_FD_KIND,
    });
    await responder.sync();
    expect(responder.received()).toEqual([]);
  });

  test("are withheld from whoever may receive none", async () => {
    using caller = await open();
    using responder = await open();
    await responder.serve("deaf.one");
    const id = await caller.openService("deaf.one");
    using files = new TestFiles(["a"]);
    sendRequest(caller, id, 1, files.fds);
    const request = await responder.nextOf(OPCODE.REQUEST);
    expect(request).toMatchObject({ flags: FLAG_FDS_WITHHELD, fdCount: 0, fds: [] });
    sendReply(responder, requestOf(request).call, files.fds);
    const reply = await caller.nextOf(OPCODE.REPLY);
    expect(reply).toMatchObject({ flags: FLAG_FDS_WITHHELD, fdCount: 0, fds: [] });
  });

  test("end the call where the topic gives all or nothing", async () => {
    using caller = await open();
    using responder = await open();
    await responder.serve("whole.one");
    const id = await caller.openService("whole.one");
    using files = new TestFiles(["a"]);
    sendRequest(caller, id, 1, files.fds);
    const refused = { status: STATUS.REJECTED_BY_POLICY };
    expect(errorOf(await caller.nextOf(OPCODE.ERROR))).toMatchObject({ id: 1, ...refused });
    caller.sendRequest(id, 2, "no files");
    const { call } = requestOf(await responder.nextOf(OPCODE.REQUEST));
    sendReply(responder, call, files.fds);
    expect(errorOf(await caller.nextOf(OPCODE.ERROR))).toMatchObject({ id: 2, ...refused });
  });

  testUnless(!HAS_PRLIMIT, NO_PRLIMIT, "that do not all arrive end the call", async () => {
    using caller = await open();
    using responder = await open();
    await responder.serve("files.many");
    const id = await caller.openService("files.many");
    using files = new TestFiles(numberedTexts("many", 50));
    const atRest = broker.countFds();
    {
      using _limit = leaveFds(broker, 10);
      sendRequest(caller, id, 1, files.fds);
      const lost = { status: STATUS.LIMIT_QUEUED_FDS };
      expect(errorOf(await caller.nextOf(OPCODE.ERROR))).toMatchObject({ id: 1, ...lost });
      caller.sendRequest(id, 2, "no files");
      const { call } = requestOf(await responder.nextOf(OPCODE.REQUEST));
      sendReply(responder, call, files.fds);
      expect(errorOf(await responder.nextOf(OPCODE.ERROR))).toMatchObject({ id: 0, ...lost });
      expect(errorOf(await caller.nextOf(OPCODE.ERROR))).toMatchObject({ id: 2, ...lost });
    }
    await broker.expectFds(atRest);
    sendRequest(caller, id, 1, files.fds);
    const { fds } = await responder.nextOf(OPCODE.REQUEST);
    expect(takeTexts(fds)).toEqual(numberedTexts("many", 50));
  });

  test("of a late reply are closed", async () => {
    using caller = await open();
    using responder = await open();
    await responder.serve("files.late");
    caller.sendRequest(await caller.openService("files.late"), 1, "?");
    const { call } = requestOf(await responder.nextOf(OPCODE.REQUEST));
    caller.sendControl(OPCODE.CANCEL, 1);
    await responder.nextOf(OPCODE.CANCEL);
    using files = new TestFiles(numberedTexts("late", 100));
    sendReply(responder, call, files.fds);
    await responder.sync();
    await broker.expectFds(fdsAlone + 2);
  });
});

describe("a large body in a call", () => {
  test("goes there and back, behind the prefix", async () => {
    using caller = await open();
    using responder = await open();
    await responder.serve("mute.large");
    const id = await caller.openService("mute.large");
    using memory = memoryOf(countingBytes(BYTES));
    const text = readText(memory.number);
    sendLargeRequest(caller, id, 1, memory.number);
    const request = await responder.nextOf(OPCODE.REQUEST);
    expect(request).toMatchObject({ flags: FLAG_LARGE, fdCount: 1 });
    expect([...request.body.subarray(8)]).toEqual([...sizeOf(BYTES)]);
    expect(takeTexts(request.fds)).toEqual([text]);
    sendLargeReply(responder, requestOf(request).call, memory.number);
    const reply = await caller.nextOf(OPCODE.REPLY);
    expect(reply).toMatchObject({ id: 1, flags: FLAG_LARGE });
    expect(takeTexts(reply.fds)).toEqual([text]);
  });

  test("that could change under its reader ends the call", async () => {
    using caller = await open();
    using responder = await open();
    await responder.serve("files.unsealed");
    const id = await caller.openService("files.unsealed");
    using memory = memoryOf(countingBytes(BYTES), 0);
    sendLargeRequest(caller, id, 1, memory.number);
    const refused = { status: STATUS.REJECTED_LARGE_BODY };
    expect(errorOf(await caller.nextOf(OPCODE.ERROR))).toMatchObject({ id: 1, ...refused });
    caller.sendRequest(id, 2, "?");
    const { call } = requestOf(await responder.nextOf(OPCODE.REQUEST));
    sendLargeReply(responder, call, memory.number);
    expect(errorOf(await responder.nextOf(OPCODE.ERROR))).toMatchObject({ id: 0, ...refused });
    expect(errorOf(await caller.nextOf(OPCODE.ERROR))).toMatchObject({
      id: 2,
      status: STATUS.REJECTED_REPLY,
    });
  });

  const NO_PASSRIGHTS = "the kernel does not know SO_PASSRIGHTS";
  const knowsPassRights = (): boolean => {
    using socket = OwnedFd.adopt(openSeqpacket());
    return setPassRights(socket.number, true);
  };

  testUnless(
    !knowsPassRights(),
    NO_PASSRIGHTS,
    "that the kernel does not pass on ends the call, whether it had to wait or not",
    async () => {
      using caller = await open();
      using responder = await open();
      await responder.serve("files.refused");
      const id = await caller.openService("files.refused");
      using memory = memoryOf(countingBytes(BYTES));
      const lost = { status: STATUS.LIMIT_QUEUED_FDS };
      // The first comes behind TOPIC and SENDER, and waits for the end of the turn.
      setPassRights(responder.socket.number, false);
      for (const call of [1, 2]) {
        sendLargeRequest(caller, id, call, memory.number);
        expect(errorOf(await caller.nextOf(OPCODE.ERROR))).toMatchObject({ id: call, ...lost });
      }
      setPassRights(caller.socket.number, false);
      for (const [call, flags] of [
        [3, FLAG_MORE],
        [4, FLAG_MORE],
        [5, 0],
        [6, 0],
      ] as const) {
        caller.sendRequest(id, call, "?", FLAG_STREAM);
        const request = requestOf(await responder.nextOf(OPCODE.REQUEST)).call;
        sendLargeReply(responder, request, memory.number, flags);
        expect(errorOf(await caller.nextOf(OPCODE.ERROR))).toMatchObject({ id: call, ...lost });
        if (flags === FLAG_MORE) {
          expect(await responder.nextOf(OPCODE.CANCEL)).toMatchObject({ id: request });
        }
      }
      for (const client of [caller, responder]) {
        await client.sync();
        expect(client.received()).toEqual([]);
      }
    },
  );

  testUnless(
    !knowsPassRights(),
    NO_PASSRIGHTS,
    "that the kernel does not pass on to one member goes to the next, in a burst too",
    async () => {
      using caller = await open();
      using deaf = await open();
      using other = await open();
      const calls = [1, 2, 3, 4];
      for (const member of [deaf, other]) await member.serve("files.shared", { shared: true });
      const id = await caller.openService("files.shared");
      using memory = memoryOf(countingBytes(BYTES));
      setPassRights(deaf.socket.number, false);
      broker.kill("SIGSTOP");
      for (const call of calls) sendLargeRequest(caller, id, call, memory.number);
      broker.kill("SIGCONT");
      for (const call of calls) {
        const request = await other.nextOf(OPCODE.REQUEST);
        expect(request).toMatchObject({ flags: FLAG_LARGE, fdCount: 1 });
        takeTexts(request.fds);
        other.sendReply(requestOf(request).call, `${call}`);
        expect((await caller.nextOf(OPCODE.REPLY)).id).toBe(call);
      }
      await caller.sync();
      expect(caller.received()).toEqual([]);
      await deaf.sync();
      expect(deaf.received().map(({ opcode }) => opcode)).not.toContain(OPCODE.REQUEST);
    },
  );
});
