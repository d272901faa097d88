/** Newcomers that are turned away, on real sockets: only root can make those of other users. */

import { afterEach, describe, expect } from "bun:test";
import { NEWCOMERS_AT_ONCE, TURNED_AWAY_MAX } from "../../../../src/broker/arrivals/limits.ts";
import { Reception } from "../../../../src/broker/arrivals/reception.ts";
import { FdBudget } from "../../../../src/broker/fds/fd-budget.ts";
import { FDS_PER_CONNECTION, FDS_RESERVED } from "../../../../src/broker/fds/limits.ts";
import { DISCARDED_PACKETS_PER_STEP } from "../../../../src/broker/reading/limits.ts";
import { PacketSource } from "../../../../src/broker/reading/packet-source.ts";
import { PacketReceiver } from "../../../../src/ffi/ancillary.ts";
import { closeFd } from "../../../../src/ffi/owned-fd.ts";
import { PinnedBuffer } from "../../../../src/ffi/pinned-buffer.ts";
import { openSeqpacketPair, sendPacket } from "../../../../src/ffi/seqpacket.ts";
import { PEER_CLOSED } from "../../../../src/ffi/syscall-result.ts";
import { testUnless } from "../../../support/loud-skip.ts";
import { asUser } from "../../../support/raw-user.ts";

const UID = 12_345;
const BYTES = 8;
const CONNECTIONS = 4;
const isRoot = process.geteuid?.() === 0;
const NOT_ROOT = "only root can be another user";

const buffer = new PinnedBuffer(1024);
const clients: number[] = [];

afterEach(() => {
  for (const fd of clients.splice(0)) closeFd(fd);
});

/** A newcomer who has sent so much. @returns the broker's end */
function comeWith(packets: number): number {
  const [ours, client] = asUser(UID, openSeqpacketPair);
  clients.push(client);
  for (let sent = 0; sent < packets; sent += 1) {
    if (sendPacket(client, buffer, 0, BYTES) !== BYTES) throw new Error("The socket is full");
  }
  return ours;
}

/** Whoever comes of this user is turned away from now on. */
function crowded() {
  const closedElsewhere: number[] = [];
  const turnedAway: string[] = [];
  const files = {
    closeFd: (fd: number) => {
      closeFd(fd);
      closedElsewhere.push(fd);
    },
  };
  const budget = new FdBudget(FDS_RESERVED + CONNECTIONS * FDS_PER_CONNECTION);
  const reception = new Reception({
    ownUid: 0,
    budget,
    source: new PacketSource({
      closer: { isFull: () => false },
      files,
      budget,
      verifiesPackets: false,
    }),
    files,
    now: () => 0,
    onEvent: ({ type }) => turnedAway.push(type),
  });
  for (let count = 0; count < NEWCOMERS_AT_ONCE; count += 1) {
    const [ours, client] = asUser(UID, openSeqpacketPair);
    closeFd(client);
    reception.receive(ours, closeFd);
  }
  // One waits.
  reception.receive(comeWith(0), () => {});
  return { reception, budget, closedElsewhere, turnedAway };
}

/** Everything that a client gets until its end, in packets. */
function receiveAll(client: number): number {
  const receiver = new PacketReceiver(buffer);
  let packets = 0;
  while (receiver.receive(client) > 0) packets += 1;
  expect(receiver.receive(client)).toBe(PEER_CLOSED);
  return packets;
}

describe("Reception.receive()", () => {
  testUnless(!isRoot, NOT_ROOT, "sees whoever has sent much off in steps", () => {
    const { reception, budget, closedElsewhere, turnedAway } = crowded();
    const { actual } = budget.figures;
    reception.receive(comeWith(3 * DISCARDED_PACKETS_PER_STEP), () => {});
    expect(turnedAway).toEqual(["turned-away"]);
    expect(budget.figures.actual).toBe(actual + FDS_PER_CONNECTION);
    expect(reception.deadline()).toBe(0);
    expect([1, 2, 3].map(() => reception.seeOffNext())).toEqual([true, true, false]);
    expect(receiveAll(clients.at(-1) ?? -1)).toBe(1);
    expect([budget.figures.actual, closedElsewhere]).toEqual([actual, []]);
    expect(reception.deadline()).toBeGreaterThan(0);
    reception.closeAll();
  });

  testUnless(!isRoot, NOT_ROOT, "keeps few of them, and closes all at the end", () => {
    const { reception, closedElsewhere } = crowded();
    for (let count = 0; count < TURNED_AWAY_MAX + 2; count += 1) {
      reception.receive(comeWith(2 * DISCARDED_PACKETS_PER_STEP), () => {});
    }
    expect(closedElsewhere).toHaveLength(2);
    reception.closeAll();
    expect(reception.seeOffNext()).toBe(false);
    for (const client of clients) receiveAll(client);
  });
});
