/** A service whose `onChannel` catches nothing, and peers that do what they should not. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "../../src/client/index.ts";
import { OwnedFd } from "../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { sendPacket } from "../../src/ffi/seqpacket.ts";
import { ENCODING, OPCODE } from "../../src/protocol/opcodes.ts";
import { eventually } from "../support/eventually.ts";
import { packetOf, RawClient } from "../support/raw-client.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";

const ASK = 900;

let broker: SpawnedBroker;

beforeAll(async () => {
  broker = await spawnBroker();
});

afterAll(async () => {
  await broker[Symbol.asyncDispose]();
});

/** The fixture's process. */
class ChannelService implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly #child: Bun.Subprocess<"ignore", "pipe", "pipe">;
  readonly #reading: Promise<void>;

  private constructor(path: string) {
    const script = `${import.meta.dir}/channel-service-fixture.ts`;
    const command = [process.execPath, script, path];
    this.#child = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    this.#reading = this.#read();
  }

  static async start(): Promise<ChannelService> {
    const service = new ChannelService(broker.path);
    await eventually(() => service.lines[0] === "serving", "it serves");
    return service;
  }

  /** What it told of failed channels. */
  get failures(): unknown[] {
    return this.lines.slice(1).map((line) => JSON.parse(line) as unknown);
  }

  /** Its exit code and standard error, once it has ended by itself. */
  async ended(): Promise<[number, string]> {
    const text = await this.#child.stderr.text();
    return [await this.#child.exited, text];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    await this.#reading;
  }

  async #read(): Promise<void> {
    let text = "";
    const decoder = new TextDecoder();
    for await (const piece of this.#child.stdout) {
      text += decoder.decode(piece, { stream: true });
      this.lines.splice(0, Number.POSITIVE_INFINITY, ...text.split("\n").slice(0, -1));
    }
  }
}

/** Opens a channel and sends one packet on it; what the fixture makes of it is not waited for. */
async function openAndSend(asker: RawClient, packet: Uint8Array): Promise<OwnedFd[]> {
  asker.sendControl(OPCODE.OPEN_CHANNEL, ASK, { service: "a.b" });
  const ends = (await asker.nextOf(OPCODE.CHANNEL)).fds.map((fd) => OwnedFd.adopt(fd));
  const buffer = new PinnedBuffer(64);
  buffer.bytes.set(packet);
  expect(sendPacket(ends[0]?.number ?? -1, buffer, 0, packet.byteLength)).toBe(packet.byteLength);
  return ends;
}

function messageOf(encoding: number, body: Uint8Array | string): Uint8Array {
  return packetOf((writer) => {
    writer.append(OPCODE.MESSAGE, encoding, 0, 0, 0, Buffer.from(body));
  });
}

const PEERS: [string, Uint8Array, string][] = [
  ["15 bytes of garbage", new Uint8Array(15).fill(0xff), "PROTOCOL_PACKET_SIZE"],
  ["data that does not decode", messageOf(ENCODING.JSON, "{"), "DATA_DECODE"],
  ["a request, and leaves", messageOf(ENCODING.TEXT, "wait for the end"), "CLOSED_BY_PEER"],
];

describe("a service that catches nothing", () => {
  test.each(PEERS)("goes on where a peer sends %s", async (_what, packet, code) => {
    await using service = await ChannelService.start();
    using asker = await RawClient.open(broker.path);
    for (const end of await openAndSend(asker, packet)) end.close();

    const failure = { topic: "a.b", connection: asker.connection, code };
    await eventually(() => service.failures.length > 0, "the failure was told");
    expect(service.failures).toEqual([failure]);

    await using bus = await connect({ path: broker.path });
    await using channel = await bus.openChannel("a.b");
    channel.send("still there");
    expect((await channel.next()).value?.data).toBe("still there");
  });

  test.each([
    ["an error of its own", "fail", "a bug of its own"],
    ["a wrong argument", "fail with a code", "ArgumentError: Cannot use fds"],
  ])("ends with %s as any program does", async (_what, data, words) => {
    await using service = await ChannelService.start();
    using asker = await RawClient.open(broker.path);
    for (const end of await openAndSend(asker, messageOf(ENCODING.TEXT, data))) end.close();

    const [exitCode, text] = await service.ended();
    expect(exitCode).toBe(1);
    expect(text).toContain(words);
    expect(service.failures).toEqual([]);
  });
});
