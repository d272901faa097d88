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
import type { ReceivedReport, WorkOrder } from "./work-order.ts";

/**
 * Runs the scenario once.
 * @throws {Error} where a message was lost, or a process failed
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
  let cpuFrom = readCpuMs(relay.pid);
  const publisherFile = roleFile(scenario.relay, scenario.publisher, "publisher");
  const publishers = pairs.map((row, source) => {
    const fds = row.map(([, fd]) => fd);
    return processes.use(new RoleProcess(publisherFile, { ...order, source }, { fds }));
  });
  for (const fd of pairs.flat(2)) closeFd(fd);
  const [first] = subscribers;
  first?.expect("warm").then(
    () => {
      cpuFrom = readCpuMs(relay.pid);
    },
    () => {},
  );
  const published = await Promise.all(publishers.map((each) => each.expect("published")));
  const reports = await Promise.all(subscribers.map((subscriber) => subscriber.expect("received")));
  const cpuMs = readCpuMs(relay.pid) - cpuFrom;
  const relayPeakRssMib = readPeakRssMib(relay.pid);
  await Promise.all([...publishers, ...subscribers].map((client) => client.finished()));
  checkLoss(published, reports);
  return summarize(scenario, reports, cpuMs, relayPeakRssMib);
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

function summarize(
  scenario: RateScenario,
  reports: readonly ReceivedReport[],
  cpuMs: number,
  relayPeakRssMib: number,
): Measurement {
  const sum = (figure: (report: ReceivedReport) => number) =>
    reports.reduce((total, report) => total + figure(report), 0);
  return {
    name: scenario.name,
    perSecond: sum((report) => (report.warmMessages / report.warmMs) * 1000),
    checked: sum((report) => report.messages),
    relayCpuNs: (cpuMs * 1e6) / sum((report) => report.warmMessages),
    relayPeakRssMib,
  };
}
