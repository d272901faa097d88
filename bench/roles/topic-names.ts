/** Topics and patterns that publishers and subscribers of a benchmark agree on. */

import type { WorkOrder } from "../work-order.ts";

/** What subscribers subscribe to. */
export const BENCH_PATTERN = "bench.load.>";

/** The topics of a publisher. */
export function benchTopics(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `bench.load.${index}`);
}

/** The topics of one publisher; of several, each has one of its own. */
export function publisherTopics(
  order: Pick<WorkOrder, "topics" | "publishers" | "source">,
): string[] {
  const topics = benchTopics(order.topics);
  return order.publishers === 1 ? topics : topics.slice(order.source, order.source + 1);
}

/** What somebody subscribes to and nobody publishes. */
export function idleTopics(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `bench.idle.${index}`);
}

/** The two topics of a round trip. */
export const PING_TOPIC = "bench.ping";
export const PONG_TOPIC = "bench.pong";

/** What the whole crowd of a reload scenario gets. */
export const NEWS_TOPIC = "bench.news.all";
export const NEWS_PATTERN = "bench.news.*";

/** What one connection of a crowd has open, and nobody else. */
export function crowdTopics(pid: number, connection: number): string[] {
  return ["a", "b", "c"].map((letter) => `bench.crowd.${pid}.${connection}.${letter}`);
}
