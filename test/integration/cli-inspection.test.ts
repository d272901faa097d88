/** `seqbus stats`, `seqbus ls` and `seqbus whois` on a broker that runs. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "../../src/client/index.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { CliBroker, runCli } from "../support/cli-process.ts";
import { RawClient, requestOf } from "../support/raw-client.ts";

let broker: CliBroker;
let client: RawClient;

beforeAll(async () => {
  broker = await CliBroker.start();
  client = await RawClient.open(broker.socket);
  await client.subscribe("sensors.>");
  const topic = await client.openTopic("sensors.kitchen");
  client.sendMessage(topic, "21.5");
  await client.sync();
});

afterAll(async () => {
  client[Symbol.dispose]();
  await broker[Symbol.asyncDispose]();
});

async function seqbus(...words: string[]): Promise<string> {
  const { exitCode, stdout } = await runCli([...words, "--socket", broker.socket]);
  expect(exitCode).toBe(0);
  return stdout;
}

function objects(text: string): Record<string, unknown>[] {
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

test("seqbus ls lists clients, and itself among them", async () => {
  const [header, first, ...rest] = (await seqbus("ls")).trimEnd().split("\n");
  expect(header).toMatch(/^ID +UID +PID +WHO +SINCE/);
  expect(first).toContain(String(process.pid));
  expect(rest).toHaveLength(1);
  const clients = objects(await seqbus("ls", "clients", "--json"));
  expect(clients[0]).toMatchObject({ connection: client.connection, published: 1, received: 1 });
});

test("seqbus ls topics and subscriptions take a pattern", async () => {
  expect((await seqbus("ls", "topics", "sensors.*")).split("\n")).toEqual([
    "TOPIC            PUBLISHERS  PUBLISHED  DELIVERED  DROPPED",
    "sensors.kitchen           1          1          1        0",
    "",
  ]);
  expect(await seqbus("ls", "topics", "other.*", "--json")).toBe("");
  const [subscription] = objects(await seqbus("ls", "subscriptions", "sensors.kitchen", "--json"));
  expect(subscription).toMatchObject({ connection: client.connection, pattern: "sensors.>" });
});

test("seqbus ls subscriptions says what they ask for", async () => {
  await using bus = await connect({ path: broker.socket });
  await bus.subscribe("work.*", { group: "workers", overflow: "drop-newest" });
  await bus.subscribe("news.*");
  const [header, ...lines] = (await seqbus("ls", "subscriptions", "*.now")).trimEnd().split("\n");
  expect(header).toMatch(/^PATTERN +GROUP +OVERFLOW +CONNECTION +UID$/);
  const [grouped, plain] = lines
    .filter((line) => !line.startsWith("sensors"))
    .toSorted()
    .reverse();
  expect(grouped).toMatch(/^work\.\* +workers +drop-newest +[0-9]+ +[0-9]+$/);
  expect(plain).toMatch(/^news\.\* +[0-9]+ +[0-9]+$/);
});

test("seqbus ls services says who serves what", async () => {
  using server = await RawClient.open(broker.socket);
  await server.serve("files.stat");
  const [header, line] = (await seqbus("ls", "services")).split("\n");
  expect(header).toBe("SERVICE     OWNERS  WAITING  GENERATION  CALLS  FAILED  REPLIES");
  expect(line).toMatch(new RegExp(`^files\\.stat +${server.connection} +0 +[1-9]`));
});

test("seqbus whois tells of a client by its number, or by what it is", async () => {
  const text = await seqbus("whois", String(client.connection));
  expect(text).toMatch(/^connection +[0-9]+$/m);
  expect(text).toMatch(/^subscriptions +1 +131072 +1 +262144$/m);
  const found = objects(await seqbus("whois", `pid=${process.pid}`, "--json"));
  expect(found).toMatchObject([{ connection: client.connection, quotas: { topics: { used: 1 } } }]);
});

test("seqbus whois tells of replies that came too late", async () => {
  using server = await RawClient.open(broker.socket);
  using caller = await RawClient.open(broker.socket);
  await server.serve("files.late");
  caller.sendRequest(await caller.openService("files.late"), 1, "?");
  const { call } = requestOf(await server.nextOf(OPCODE.REQUEST));
  caller.sendControl(OPCODE.CANCEL, 1);
  await server.nextOf(OPCODE.CANCEL);
  server.sendReply(call, "late");
  await server.sync();
  expect(await seqbus("whois", String(server.connection))).toMatch(/^services\.lateReplies +1$/m);
});

test("seqbus whois fails where there is no such client, or no such way to look for one", async () => {
  const nobody = await runCli(["whois", "999999", "--socket", broker.socket]);
  expect(nobody.exitCode).toBe(1);
  expect(nobody.stderr).toContain("Cannot show 999999: no such client");
  expect((await runCli(["whois", "color=red", "--socket", broker.socket])).exitCode).toBe(2);
  expect((await runCli(["ls", "clients", "a.*", "--socket", broker.socket])).exitCode).toBe(2);
});

test("seqbus stats prints the broker and its users, --json one object", async () => {
  const text = await seqbus("stats");
  expect(text).toMatch(/^published +1$/m);
  expect(text).toMatch(/^UID +OPEN +GONE/m);
  const [stats] = objects(await seqbus("stats", "--json"));
  expect(stats?.["broker"]).toMatchObject({ published: 1, received: 1, missed: 0, topics: 1 });
  expect(stats?.["uids"]).toMatchObject([{ uid: process.getuid?.(), published: 1 }]);
});
