import { expect, test } from "bun:test";
import { readFileSync, readlinkSync } from "node:fs";
import {
  isSentBy,
  type PeerIdentity,
  readPeerIdentity,
} from "../../src/broker/identity/identity.ts";
import { overflowIds } from "../../src/broker/identity/overflow-ids.ts";
import { PacketReceiver } from "../../src/ffi/ancillary.ts";
import { supportsPeerPidfd } from "../../src/ffi/peer-credentials.ts";
import { PinnedBuffer } from "../../src/ffi/pinned-buffer.ts";
import { testUnless } from "../support/loud-skip.ts";
import { linesOf, PeerListener, type PeerPlan, startPeer } from "./identity-peer.ts";

const notRoot = process.getuid?.() !== 0;
const ROOT_REASON = "only root can start a process under another uid";
const noPidfd = !supportsPeerPidfd();
const PIDFD_REASON = "the kernel has no SO_PEERPIDFD";
const NAMESPACE_REASON = "only root can make a user namespace here, with unshare of util-linux";

function canMakeUserNamespace(): boolean {
  if (notRoot || Bun.which("unshare") === null) return false;
  return Bun.spawnSync(["unshare", "--user", "--map-root-user", "true"]).success;
}

const noUserNamespace = !canMakeUserNamespace();

/** Who a peer is while it stays connected, and its pid. */
async function identify(plan: PeerPlan): Promise<{ identity: PeerIdentity; pid: number }> {
  using listener = new PeerListener();
  await using peer = await startPeer({ ...plan, path: listener.path });
  if (plan.exit === true) await peer.exited;
  using socket = listener.accept();
  return { identity: readPeerIdentity(socket.number), pid: peer.pid };
}

/** The path of the version 2 cgroup of this process, which its children share. */
function ownCgroup(): string | undefined {
  return /^0::(\/.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1];
}

testUnless(noPidfd, PIDFD_REASON, "a living peer has cgroup and executable", async () => {
  const { identity, pid } = await identify({});
  expect(identity.pid).toBe(pid);
  expect(identity.cgroup).toBe(ownCgroup());
  expect(identity.exe).toBe(readlinkSync("/proc/self/exe"));
  expect(identity.unmapped).toBe(false);
});

testUnless(notRoot, ROOT_REASON, "root sees the executable of other users too", async () => {
  const { identity } = await identify({ become: { uid: 12_345, gid: 23_456, groups: [7, 9] } });
  expect(identity).toMatchObject({ uid: 12_345, gid: 23_456, groups: [7, 9] });
  expect(identity.exe).toBe(noPidfd ? undefined : readlinkSync("/proc/self/exe"));
});

testUnless(notRoot, ROOT_REASON, "a peer in 300 groups has all of them", async () => {
  const groups = Array.from({ length: 300 }, (_, index) => 70_000 + index);
  const { identity } = await identify({ become: { uid: 12_345, gid: 23_456, groups } });
  expect(identity.groups).toEqual(groups);
});

test("a peer that exits right after connect() keeps its ids, and has no unit or executable", async () => {
  const { identity, pid } = await identify({ exit: true });
  expect(identity).toMatchObject({ pid, uid: process.geteuid?.(), gid: process.getegid?.() });
  const { cgroup, unit, slice, container, exe } = identity;
  expect([cgroup, unit, slice, container, exe].filter((known) => known !== undefined)).toEqual([]);
});

testUnless(notRoot, ROOT_REASON, "a peer that changes its ids later stays who it was", async () => {
  const become = { uid: 12_345, gid: 23_456, groups: [] };
  const { identity } = await identify({ becomeLater: become });
  expect(identity).toMatchObject({ uid: 0, gid: 0 });
});

testUnless(notRoot, ROOT_REASON, "a peer under the overflow uid or gid is unmapped", async () => {
  const { uid, gid } = overflowIds();
  const nobody = await identify({ become: { uid, gid: 23_456, groups: [] } });
  expect(nobody.identity.unmapped).toBe(true);
  const nogroup = await identify({ become: { uid: 12_345, gid, groups: [] } });
  expect(nogroup.identity.unmapped).toBe(true);
});

testUnless(notRoot, ROOT_REASON, "the overflow gid is no group to be in", async () => {
  const groups = [7, overflowIds().gid];
  const { identity } = await identify({ become: { uid: 12_345, gid: 23_456, groups } });
  expect(identity).toMatchObject({ unmapped: false, groups: [7] });
});

/** What a broker inside a new user namespace, which maps root alone, sees of a peer outside. */
async function identifyFromInside(plan: PeerPlan): Promise<PeerIdentity[]> {
  using place = new PeerListener();
  const path = `${place.path}-inside`;
  const script = `${import.meta.dir}/identity-listener-fixture.ts`;
  const command = ["unshare", "--user", "--map-root-user", process.execPath, script, path];
  await using broker = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
  const lines = linesOf(broker.stdout);
  expect((await lines.next()).value).toBe('"ready"');
  await using _peer = await startPeer({ ...plan, path });
  return JSON.parse((await lines.next()).value ?? "[]");
}

testUnless(
  noUserNamespace,
  NAMESPACE_REASON,
  "a broker in a user namespace sees unmapped ids as such, unless it allows them",
  async () => {
    const plan = { become: { uid: 12_345, gid: 0, groups: [23_456] } };
    const [strict, lenient] = await identifyFromInside(plan);
    const { uid, gid } = overflowIds();
    expect(strict).toMatchObject({ uid, gid: 0, groups: [], unmapped: true });
    expect(lenient).toMatchObject({ uid, gid: 0, groups: [gid], unmapped: false });
  },
);

testUnless(
  noUserNamespace,
  NAMESPACE_REASON,
  "a broker in a user namespace sees the ids that are mapped, and no executable outside of it",
  async () => {
    const [strict] = await identifyFromInside({ become: { uid: 0, gid: 0, groups: [] } });
    expect(strict).toMatchObject({ uid: 0, gid: 0, unmapped: false });
    expect(strict).not.toHaveProperty("exe");
  },
);

testUnless(
  noUserNamespace,
  NAMESPACE_REASON,
  "a peer that is root in a user namespace of its own is who it is outside",
  async () => {
    using listener = new PeerListener();
    const user = ["setpriv", "--reuid=12345", "--regid=23456", "--clear-groups"];
    const command = [...user, "unshare", "--user", "--map-root-user"];
    await using _peer = await startPeer({ path: listener.path }, command);
    using socket = listener.accept();
    expect(readPeerIdentity(socket.number)).toMatchObject({ uid: 12_345, gid: 23_456 });
  },
);

/** For each packet that a peer, or whom it handed its socket to, sent: isSentBy(), and the pid. */
async function verifyPackets(plan: PeerPlan) {
  using listener = new PeerListener({ packetCredentials: true });
  await using peer = await startPeer({ ...plan, path: listener.path });
  using socket = listener.accept();
  const identity = readPeerIdentity(socket.number);
  const receiver = new PacketReceiver(new PinnedBuffer(64));
  const packets: [isSent: boolean, pid: number][] = [];
  while (receiver.receive(socket.number) > 0) {
    packets.push([isSentBy(identity, receiver), receiver.credentialsPid]);
  }
  return { identity, packets, pid: peer.pid, childPid: peer.childPid };
}

test("isSentBy() holds for packets of the peer, also those sent before accept()", async () => {
  const { packets, pid } = await verifyPackets({ packets: 2 });
  expect(packets).toEqual([
    [true, pid],
    [true, pid],
  ]);
});

test("isSentBy() fails for a process that inherited the socket", async () => {
  const { packets, pid, childPid, identity } = await verifyPackets({ packets: 1, handOn: true });
  expect(identity.pid).toBe(pid);
  expect(packets).toEqual([
    [true, pid],
    [false, childPid as number],
  ]);
});

testUnless(notRoot, ROOT_REASON, "isSentBy() holds under another uid", async () => {
  const become = { uid: 12_345, gid: 23_456, groups: [] };
  const { packets, pid } = await verifyPackets({ become, packets: 1 });
  expect(packets).toEqual([[true, pid]]);
});

testUnless(notRoot, ROOT_REASON, "isSentBy() fails for a setuid process", async () => {
  const { identity, packets, pid } = await verifyPackets({ effectiveUid: 12_345, packets: 1 });
  expect(identity.uid).toBe(12_345);
  expect(packets).toEqual([[false, pid]]);
});

test("isSentBy() fails without credentials, and for a peer whose pid cannot be seen", async () => {
  using listener = new PeerListener();
  await using _peer = await startPeer({ path: listener.path, packets: 1 });
  using socket = listener.accept();
  const identity = readPeerIdentity(socket.number);
  const receiver = new PacketReceiver(new PinnedBuffer(64));
  expect(receiver.receive(socket.number)).toBe(8);
  expect(isSentBy(identity, receiver)).toBe(false);
  const unseen = { hasCredentials: true, credentialsPid: 0, credentialsUid: 1, credentialsGid: 2 };
  expect(isSentBy({ pid: 0, uid: 1, gid: 2, groups: [] }, unseen as PacketReceiver)).toBe(false);
});
