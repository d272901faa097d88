/**
 * Runs a rate scenario: publishers and subscribers with a credit socket between each two, and all
 * messages counted at both ends.
 */

import { closeFd } from "../src/ffi/owned-fd.ts";
import { openSeqpacketPair } from "../src/ffi/seqpacket.ts";
import type { Measurement } from "./measurement.ts";
import { readCpuMs, readPeakRssMib } from "./process-usage.ts";
import type { RelayServer } from "./relay-server.ts";
import { roleFile } from "./role-files.ts";
import { RoleProcess } from "./role-process.ts";
import type { RateScenario } from "./scenarios.ts";
import type { CountedStretch, ReceivedReport, WorkOrder } from "./work-order.ts";

/** Who asks for fewer wants to see that all come, and looks at no rate. */
const MESSAGES_FEW = 100_000;

/**
 * Runs the scenario once.
 * @throws {Error} where a message was lost, all of them came at once, or a process failed
 */
export async function measureRate(
  scenario: RateScenario,
  order: WorkOrder,
  relay: RelayServer,
): Promise<Measurement> {
  await using processes = new AsyncDisposableStack();
  if (order.idleSubscriptions > 0) {
    const idle = new RoleProcess(roleFile(scenario.relay, "raw", "idle"), order);
    await processes.use(idle).expect("ready");
  }
  // One row for each publisher, in it one pair for each subscriber: [its end, the publisher's].
  const pairs = Array.from({ length: order.publishers }, () =>
    Array.from({ length: order.subscribers }, () => openSeqpacketPair()),
  );
  const subscriberFile = roleFile(scenario.relay, scenario.subscriber, "subscriber");
  const subscribers = Array.from({ length: order.subscribers }, (_, at) => {
    const fds = pairs.flatMap((row) => row[at]?.[0] ?? []);
    const options = { fds, argument: scenario.subscriber };
    return processes.use(new RoleProcess(subscriberFile, order, options));
  });
  await Promise.all(subscribers.map((subscriber) => subscriber.expect("ready")));
  const cpuFrom = { all: readCpuMs(relay.pid), warm: Number.NaN };
  const publisherFile = roleFile(scenario.relay, scenario.publisher, "publisher");
  const publishers = pairs.map((row, source) => {
    const fds = row.map(([, fd]) => fd);
    return processes.use(new RoleProcess(publisherFile, { ...order, source }, { fds }));
  });
  for (const fd of pairs.flat(2)) closeFd(fd);
  const noteCpu = (type: "streaming" | "warm", stretch: keyof typeof cpuFrom): void => {
    subscribers[0]?.expect(type).then(
      () => {
        cpuFrom[stretch] = readCpuMs(relay.pid);
      },
      () => {},
    );
  };
  noteCpu("streaming", "all");
  noteCpu("warm", "warm");
  const published = await Promise.all(publishers.map((each) => each.expect("published")));
  const reports = await Promise.all(subscribers.map((subscriber) => subscriber.expect("received")));
  const cpuTo = readCpuMs(relay.pid);
  const relayPeakRssMib = readPeakRssMib(relay.pid);
  await Promise.all([...publishers, ...subscribers].map((client) => client.finished()));
  checkLoss(published, reports);
  const counted = countedPart(reports);
  const isLimited = order.messagesMax < MESSAGES_FEW;
  if (!isLimited && counted.stretches.some(({ messages }) => messages === 0)) {
    throw new Error("All messages came at once, so there is no rate: let it run for longer");
  }
  const deliveries = sumOf(counted.stretches, ({ messages }) => messages);
  const cpuMs = cpuTo - (counted.isCold ? cpuFrom.all : cpuFrom.warm);
  return {
    name: scenario.name,
    perSecond: sumOf(counted.stretches, rateOf),
    checked: sumOf(reports, ({ messages }) => messages),
    relayCpuNs: (cpuMs * 1e6) / deliveries,
    relayPeakRssMib,
    ...(counted.isCold && { isCold: true }),
  };
}

/**
 * Compares what was sent with what each subscriber has got.
 * @throws {Error} where somebody has more or less than was sent
 */
export function checkLoss(
  published: readonly { readonly messages: number }[],
  received: readonly { readonly messages: number }[],
): void {
  const sent = published.reduce((sum, each) => sum + each.messages, 0);
  for (const [index, { messages }] of received.entries()) {
    if (messages === sent) continue;
    throw new Error(`Messages were lost: subscriber ${index + 1} got ${messages} of ${sent}`);
  }
}

/** What a figure is of. */
export interface CountedPart {
  /** One for each subscriber. */
  readonly stretches: readonly CountedStretch[];
  /** Somebody had no message after the warm-up, so all count from their first look. */
  readonly isCold: boolean;
}

/** The same part of the run for all subscribers, since the relay's CPU time is divided by all. */
export function countedPart(reports: readonly ReceivedReport[]): CountedPart {
  const warm = reports.flatMap((report) => report.warm ?? []);
  if (warm.length === reports.length) return { stretches: warm, isCold: false };
  return { stretches: reports.map(({ all }) => all), isCold: true };
}

function rateOf({ messages, ms }: CountedStretch): number {
  return messages === 0 ? 0 : (messages / ms) * 1000;
}

function sumOf<Item>(items: readonly Item[], figure: (item: Item) => number): number {
  return items.reduce((total, item) => total + figure(item), 0);
}
