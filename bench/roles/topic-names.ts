/** Topics and patterns that publishers and subscribers of a benchmark agree on. */

/** What subscribers subscribe to. */
export const BENCH_PATTERN = "bench.load.>";

/** The topics of a publisher. */
export function benchTopics(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `bench.load.${index}`);
}

/** The two topics of a round trip. */
export const PING_TOPIC = "bench-ping";
export const PONG_TOPIC = "bench-pong";

/** What the whole crowd of a reload scenario gets. */
export const NEWS_TOPIC = "bench.news.all";
export const NEWS_PATTERN = "bench.news.*";

/** What one connection of a crowd has open, and nobody else. */
export function crowdTopics(pid: number, connection: number): string[] {
  return ["a", "b", "c"].map((letter) => `bench.crowd.${pid}.${connection}.${letter}`);
}
