import { expect, test } from "bun:test";
import { chmodSync, readFileSync } from "node:fs";
import { waitReadable } from "../../../src/ffi/blocking-poll.ts";
import { createMemfd } from "../../../src/ffi/memfd.ts";
import { OwnedFd } from "../../../src/ffi/owned-fd.ts";
import {
  decodeLabel,
  getPeerCredentials,
  getPeerGroups,
  getPeerLabel,
  getPeerPidfd,
  type PeerCredentials,
  supportsPeerPidfd,
} from "../../../src/ffi/peer-credentials.ts";
import { readPidOfPidfd } from "../../../src/ffi/pidfd.ts";
import * as seqpacket from "../../../src/ffi/seqpacket.ts";
import { testUnless } from "../../support/loud-skip.ts";
import { isCloseOnExec, leakingNoFds } from "./fd-table.ts";
import { runFixture } from "./fixture-process.ts";
import { SocketDirectory } from "./socket-directory.ts";
import { SocketPair } from "./socket-pair.ts";

const CONNECT_MS_MAX = 4_000;
const notRoot = process.getuid?.() !== 0;
const noPidfd = !supportsPeerPidfd();
const PIDFD_REASON = "the kernel has no SO_PEERPIDFD";
const ROOT_REASON = "only root can start a process under another uid";

/** What the kernel says of a peer, and the pid that the peer says of itself. */
interface SeenPeer {
  readonly credentials: PeerCredentials;
  readonly groups: readonly number[];
  readonly pid: unknown;
}

/** Starts connecting-peer-fixture.ts against a listener of our own and looks at who connects. */
async function seePeer(...args: readonly string[]): Promise<SeenPeer> {
  using directory = new SocketDirectory();
  const path = directory.file("bus");
  using listener = OwnedFd.adopt(seqpacket.openSeqpacket());
  seqpacket.bindPath(listener.number, path);
  chmodSync(path, 0o666);
  seqpacket.listen(listener.number, 1);
  const fixture = runFixture("connecting-peer-fixture.ts", [path, ...args]);
  expect(waitReadable(listener.number, CONNECT_MS_MAX)).toBe(true);
  using accepted = OwnedFd.adopt(seqpacket.acceptConnection(listener.number));
  const credentials = getPeerCredentials(accepted.number);
  const groups = getPeerGroups(accepted.number);
  accepted.close();
  const { output: pid } = await fixture;
  return { credentials, groups, pid };
}

/** Supplementary groups of this process, as the kernel lists them. */
function ownGroups(): number[] {
  const line = readFileSync("/proc/self/status", "utf8").match(/^Groups:(.*)$/m)?.[1] ?? "";
  const groups = line.split(" ").filter((word) => word.trim() !== "");
  return [...new Set(groups.map(Number))].sort((a, b) => a - b);
}

test("an accepted SEQPACKET connection names pid, uid, gid and groups of another process", async () => {
  const peer = await seePeer("never");
  const uid = process.geteuid?.() as number;
  const gid = process.getegid?.() as number;
  expect(peer.credentials).toEqual({ pid: peer.pid as number, uid, gid });
  expect(peer.credentials.pid).not.toBe(process.pid);
  expect(peer.groups).toEqual(ownGroups());
});

testUnless(notRoot, ROOT_REASON, "another uid, gid and groups are seen", async () => {
  const peer = await seePeer("before", "12345", "23456", "[300,100,200,100]");
  expect(peer.credentials).toEqual({ pid: peer.pid as number, uid: 12_345, gid: 23_456 });
  expect(peer.groups).toEqual([100, 200, 300]);
});

testUnless(notRoot, ROOT_REASON, "ids above 2^31 are unsigned", async () => {
  const peer = await seePeer("before", "4294967294", "4294967293", "[4294967292,10,9]");
  expect(peer.credentials).toMatchObject({ uid: 4_294_967_294, gid: 4_294_967_293 });
  expect(peer.groups).toEqual([9, 10, 4_294_967_292]);
});

testUnless(notRoot, ROOT_REASON, "ids are those of the moment of connect()", async () => {
  const peer = await seePeer("after", "12345", "23456", "[300]");
  expect(peer.credentials).toMatchObject({ uid: 0, gid: 0 });
  expect(peer.groups).toEqual(ownGroups());
});

testUnless(notRoot, ROOT_REASON, "getPeerGroups() returns thousands of groups", async () => {
  const groups = Array.from({ length: 3_000 }, (_, index) => 100_000 + index);
  const peer = await seePeer("before", "12345", "23456", JSON.stringify(groups.toReversed()));
  expect(peer.groups).toEqual(groups);
  // The larger scratch of the call before must not show in the answer of the next.
  const next = await seePeer("before", "12345", "23456", "[7]");
  expect(next.groups).toEqual([7]);
});

test("a socketpair names this process on both ends", () => {
  using pair = new SocketPair();
  for (const end of [pair.near, pair.far]) {
    expect(getPeerCredentials(end.number).pid).toBe(process.pid);
    expect(getPeerGroups(end.number)).toEqual(ownGroups());
  }
});

test("the answer stays when the peer is gone", () => {
  using pair = new SocketPair();
  pair.far.close();
  expect(getPeerCredentials(pair.near.number).pid).toBe(process.pid);
});

test("a socket that was never connected names nobody: ENOTCONN, never uid 4294967295", () => {
  using socket = OwnedFd.adopt(seqpacket.openSeqpacket());
  expect(() => getPeerCredentials(socket.number)).toThrow("ENOTCONN");
  expect(() => getPeerGroups(socket.number)).toThrow("ENOTCONN");
});

test("an fd that is no socket throws ENOTSOCK", () => {
  using file = OwnedFd.adopt(createMemfd("no socket"));
  expect(() => getPeerCredentials(file.number)).toThrow("ENOTSOCK");
  expect(() => getPeerGroups(file.number)).toThrow("ENOTSOCK");
  expect(() => getPeerLabel(file.number)).toThrow("ENOTSOCK");
  expect(() => getPeerPidfd(file.number)).toThrow("ENOTSOCK");
});

testUnless(
  noPidfd,
  PIDFD_REASON,
  "getPeerPidfd() returns a close-on-exec pidfd of the process that SO_PEERCRED names",
  leakingNoFds(() => {
    using pair = new SocketPair();
    using pidfd = getPeerPidfd(pair.near.number);
    expect(pidfd).toBeDefined();
    expect(isCloseOnExec(pidfd?.number ?? -1)).toBe(true);
    expect(readPidOfPidfd(pidfd?.number ?? -1)).toBe(process.pid);
  }),
);

test(
  "getPeerPidfd() returns undefined for a socket that was never connected",
  leakingNoFds(() => {
    using socket = OwnedFd.adopt(seqpacket.openSeqpacket());
    expect(getPeerPidfd(socket.number)).toBeUndefined();
  }),
);

test(
  "supportsPeerPidfd() agrees with getPeerPidfd(), and keeps no fd",
  leakingNoFds(() => {
    using pair = new SocketPair();
    using pidfd = getPeerPidfd(pair.near.number);
    expect(supportsPeerPidfd()).toBe(pidfd !== undefined);
  }),
);

test("getPeerLabel() returns a label where a security module gives one, and else undefined", () => {
  using pair = new SocketPair();
  expect(getPeerLabel(pair.near.number)).toBe(ownLabel());
});

/** What the security module calls this process; undefined without one that labels. */
function ownLabel(): string | undefined {
  try {
    const text = readFileSync("/proc/self/attr/current", "utf8");
    return text.replace(/[\0\n]+$/, "") || undefined;
  } catch {
    return undefined;
  }
}

test.each([
  ["", undefined],
  ["00", undefined],
  ["756e636f6e66696e6564", "unconfined"],
  ["66697265666f782028656e666f7263652900", "firefox (enforce)"],
  ["61006200", "a"],
])("decodeLabel() reads %j as %p", (hex, label) => {
  expect(decodeLabel(Uint8Array.fromHex(hex))).toBe(label);
});
