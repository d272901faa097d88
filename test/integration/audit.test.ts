/** What the audit log says of clients under several uids, of policies, and of a flood. */

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { AUDIT_BURST_EVENTS } from "../../src/cli/audit/audit-limiter.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { runCli, TemporaryDirectory } from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { packetOf, RawClient } from "../support/raw-client.ts";
import { connectAs, type SpawnedClient } from "../support/spawned-client.ts";
import { TestFiles } from "../support/test-files.ts";
import { AuditBroker, countEvents, parseAuditLines } from "./audit-broker.ts";

const READER_UID = 23_456;
const STRANGER_UID = 34_567;
const OWN_UID = process.geteuid?.() ?? 0;

const isRoot = OWN_UID === 0;
const NOT_ROOT = "only root can run clients as other users";

const OWN_UID_PUBLISHES = `
[[rule]]
id = "own-uid-publishes"
topics = ["public.>"]
uid = ${OWN_UID}
allow = ["publish", "send-fds"]
`;
const NO_PRLIMIT = Bun.which("prlimit") === null;

const POLICY = `${OWN_UID_PUBLISHES}
[[rule]]
id = "reader-reads"
topics = ["public.>"]
uid = ${READER_UID}
allow = ["subscribe"]

[[rule]]
id = "no-secrets"
topics = ["public.secret.>"]
any = true
deny = ["subscribe"]
`;

describe("the audit log", () => {
  test("tells of start, policy, clients and stop, in order", async () => {
    await using broker = await AuditBroker.start({ policy: POLICY });
    using client = await RawClient.open(broker.socket);
    const connected = await broker.line("connected");
    expect(connected).toMatchObject({ connection: client.connection, uid: OWN_UID });
    expect(connected).toMatchObject({ pid: process.pid, groups: expect.any(Array) });
    client[Symbol.dispose]();
    expect(await broker.line("disconnected")).not.toHaveProperty("code");
    expect(await broker.stop()).toBe(0);
    const lines = broker.lines();
    expect(lines.map(({ event }) => event)).toEqual([
      "policy-loaded",
      "started",
      "connected",
      "disconnected",
      "stopped",
    ]);
    expect(lines[0]).toMatchObject({ policy: expect.stringMatching(/policy\.toml$/), rules: 3 });
    expect(lines[1]).toMatchObject({ socket: broker.socket, policy: lines[0]?.policy });
    for (const { time } of lines) expect(time).toBe(new Date(time).toISOString());
  });

  test("tells why the broker ended a connection", async () => {
    await using broker = await AuditBroker.start();
    using client = RawClient.connect(broker.socket);
    client.send(new Uint8Array(8));
    await client.untilEnd();
    expect(await broker.line("evicted")).toMatchObject({
      uid: OWN_UID,
      pid: process.pid,
      code: "PROTOCOL_PACKET_SIZE",
      message: expect.any(String),
    });
  });

  testUnless(
    NO_PRLIMIT,
    "prlimit of util-linux is missing",
    "tells of fds beyond what the broker may hold",
    async () => {
      await using broker = await AuditBroker.start({ policy: POLICY });
      using client = await RawClient.open(broker.socket);
      const topic = await client.openTopic("public.files");
      const limited = Bun.spawnSync(["prlimit", `--pid=${broker.process.pid}`, "--nofile=3:3"]);
      expect(limited.exitCode).toBe(0);
      using files = new TestFiles(["text"]);
      client.sendMessage(topic, "body of the message", files.fds);
      expect(await broker.line("fds-refused")).toMatchObject({ uid: OWN_UID, pid: process.pid });
      expect(broker.text()).not.toContain("body of the message");
    },
  );

  test("tells of a policy that the broker cannot start with", async () => {
    using directory = new TemporaryDirectory();
    const policy = directory.write("policy.toml", "mistake = true\n");
    const log = directory.file("audit.log");
    const words = ["broker", "--socket", directory.file("bus.sock"), "--policy", policy];
    expect((await runCli([...words, "--audit", log])).exitCode).toBe(5);
    expect(parseAuditLines(readFileSync(log, "utf8"))).toMatchObject([
      { event: "policy-refused", message: expect.stringContaining(`${policy}:1:1`) },
    ]);
  });

  test("that cannot be opened keeps the broker from starting, and says why", async () => {
    using directory = new TemporaryDirectory();
    const socket = directory.file("bus.sock");
    const log = directory.file("missing/audit.log");
    const { exitCode, stderr } = await runCli(["broker", "--socket", socket, "--audit", log]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`seqbus: Cannot open audit log "${log}": ENOENT`);
    expect(existsSync(socket)).toBe(false);
  });

  testUnless(!isRoot, NOT_ROOT, "tells who was denied what, and by which rule", async () => {
    await using broker = await AuditBroker.start({ policy: POLICY });
    await using reader = await connectAs(READER_UID, broker.socket);
    await using stranger = await connectAs(STRANGER_UID, broker.socket);
    await reader.failureOf("subscribe", "public.secret.door");
    await stranger.call("publish", "public.a", "body of the message");
    await stranger.failureOf("flush");
    const secret = await broker.line("denied", ({ uid }) => uid === READER_UID);
    expect(secret).toMatchObject({
      ...{ gid: READER_UID, pid: reader.pid, exe: process.execPath },
      ...{ action: "subscribe", topic: "public.secret.door", rule: "no-secrets" },
    });
    const unruled = await broker.line("denied", ({ uid }) => uid === STRANGER_UID);
    expect(unruled).toMatchObject({ pid: stranger.pid, action: "publish", topic: "public.a" });
    expect(unruled).not.toHaveProperty("rule");
    expect(broker.text()).not.toContain("body of the message");
  });

  testUnless(!isRoot, NOT_ROOT, "tells what a permissive policy would deny", async () => {
    await using broker = await AuditBroker.start({ policy: `mode = "permissive"\n${POLICY}` });
    await using stranger = await connectAs(STRANGER_UID, broker.socket);
    await stranger.call("subscribe", "public.secret.door");
    expect(await broker.line("would-deny")).toMatchObject({
      ...{ uid: STRANGER_UID, action: "subscribe", topic: "public.secret.door" },
      rule: "no-secrets",
    });
  });

  testUnless(!isRoot, NOT_ROOT, "tells of reloads and of rights that they take", async () => {
    await using broker = await AuditBroker.start({ policy: POLICY });
    await using reader = await connectAs(READER_UID, broker.socket);
    await reader.call("subscribe", "public.a");
    broker.writePolicy("mistake = true\n");
    broker.process.signal("SIGHUP");
    const refused = await broker.line("policy-refused");
    expect(refused.message).toContain("policy.toml:1:1");
    broker.writePolicy(OWN_UID_PUBLISHES);
    broker.process.signal("SIGHUP");
    const loaded = await broker.line("policy-loaded", ({ rules }) => rules !== 3);
    expect(loaded).toMatchObject({ policy: expect.stringMatching(/policy\.toml$/), rules: 1 });
    expect(await broker.line("revoked")).toMatchObject({
      ...{ uid: READER_UID, pid: reader.pid, action: "subscribe", topic: "public.a" },
    });
  });
});

const FLOOD = 10_000;
const REQUESTS_PER_PACKET = 500;

/** Asks FLOOD times for what no rule allows. */
async function flood(client: RawClient): Promise<void> {
  const refused = () => client.received().filter(({ opcode }) => opcode === OPCODE.ERROR).length;
  for (let sent = 0; sent < FLOOD; sent += REQUESTS_PER_PACKET) {
    await client.sendEventually(
      packetOf((writer) => {
        for (let id = 1; id <= REQUESTS_PER_PACKET; id += 1) {
          writer.appendControl(OPCODE.SUBSCRIBE, 0, id, { pattern: `private.${id}` });
        }
      }),
    );
    let count = 0;
    await eventually(() => {
      count += refused();
      return count === REQUESTS_PER_PACKET;
    }, "every request is refused");
  }
}

async function deniedOnce(client: SpawnedClient, topic: string): Promise<void> {
  expect((await client.failureOf("subscribe", topic)).code).toBe("REJECTED_BY_POLICY");
}

describe("10,000 denials of one uid", () => {
  testUnless(!isRoot, NOT_ROOT, "do not hide those of another, and are counted", async () => {
    await using broker = await AuditBroker.start({ policy: POLICY });
    await using quiet = await connectAs(STRANGER_UID, broker.socket);
    using loud = await RawClient.open(broker.socket);
    const flooding = flood(loud);
    await deniedOnce(quiet, "private.during");
    await flooding;
    await deniedOnce(quiet, "private.after");
    await broker.line("denied", ({ topic }) => topic === "private.during");
    await broker.line("denied", ({ topic }) => topic === "private.after");
    expect(await broker.stop()).toBe(0);
    const ofLoud = broker.lines().filter(({ uid }) => uid === OWN_UID);
    expect(ofLoud.length).toBeGreaterThanOrEqual(AUDIT_BURST_EVENTS);
    expect(ofLoud.length).toBeLessThan(FLOOD / 10);
    // It connected, and was disconnected.
    expect(countEvents(ofLoud)).toBe(FLOOD + 2);
    expect(ofLoud.some(({ suppressed = 0 }) => suppressed > 0)).toBe(true);
  });
});

test("an audited broker tells people of denials too, unless both would go to stderr", async () => {
  await using both = await AuditBroker.start({ policy: POLICY });
  await using one = await AuditBroker.start({ policy: POLICY, audit: "-" });
  one.text = () => one.process.stderr;
  for (const broker of [both, one]) {
    using client = await RawClient.open(broker.socket);
    await client.requestFrame(OPCODE.SUBSCRIBE, { pattern: "private" });
    await broker.line("denied");
  }
  await both.process.logged("seqbus: denied subscribe");
  expect(readFileSync(both.log, "utf8")).toContain('"denied"');
  expect(one.process.stderr).not.toContain("seqbus: denied");
});
