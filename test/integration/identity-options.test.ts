/** `seqbus broker --verify` and `--allow-unmapped`, with clients that need them. */

import { expect, test } from "bun:test";
import { testUnless } from "../support/loud-skip.ts";
import { RawClient } from "../support/raw-client.ts";
import { connectAs } from "../support/spawned-client.ts";
import { AuditBroker } from "./audit-broker.ts";
import { startPeer } from "./identity-peer.ts";

const USER_UID = 12_345;

/** A client connects, and another process that inherited its socket sends a packet on it. */
async function handOnSocket(broker: AuditBroker) {
  await using peer = await startPeer({ path: broker.socket, handOn: true });
  const evicted = await broker.line("evicted", ({ pid }) => pid === peer.pid);
  await peer.exited;
  return evicted;
}

test("--verify message closes a socket on which another process sends", async () => {
  await using broker = await AuditBroker.start({ words: ["--verify", "message"] });
  expect((await handOnSocket(broker)).code).toBe("REJECTED_SENDER");
});

test("--verify message serves clients that keep their socket", async () => {
  await using broker = await AuditBroker.start({ words: ["--verify", "message"] });
  using client = await RawClient.open(broker.socket);
  await client.subscribe("a");
  client.sendMessage(await client.openTopic("a"), "heard");
  expect(await client.nextTexts(1)).toEqual(["heard"]);
});

test("--verify connect, the default, reads what another process sends", async () => {
  await using broker = await AuditBroker.start();
  // The packet is too short for a frame, which the broker says once it has taken it.
  expect((await handOnSocket(broker)).code).toBe("PROTOCOL_PACKET_SIZE");
});

function canMakeUserNamespace(): boolean {
  if (process.geteuid?.() !== 0 || Bun.which("unshare") === null) return false;
  return Bun.spawnSync(["unshare", "--user", "--map-root-user", "true"]).success;
}

/** A broker in a user namespace that maps root alone, and a client that has no uid there. */
async function subscribeFromOutside(words: readonly string[]) {
  const policy = '[[rule]]\nid = "all"\ntopics = [">"]\nany = true\nallow = ["subscribe"]\n';
  const prefix = ["unshare", "--user", "--map-root-user"];
  await using broker = await AuditBroker.start({ policy, words, prefix });
  await using client = await connectAs(USER_UID, broker.socket);
  try {
    await client.call("subscribe", "a");
    return "allowed";
  } catch {
    const { event, rule } = await broker.line("denied");
    return { event, rule };
  }
}

testUnless(
  !canMakeUserNamespace(),
  "only root can make a user namespace here, with unshare of util-linux",
  "no rule matches a client without a uid in the namespace, unless --allow-unmapped is given",
  async () => {
    expect(await subscribeFromOutside([])).toEqual({ event: "denied", rule: undefined });
    expect(await subscribeFromOutside(["--allow-unmapped"])).toBe("allowed");
  },
);
