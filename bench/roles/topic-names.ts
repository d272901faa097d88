/** Topics and patterns that publishers and subscribers of a benchmark agree on. */

/** What subscribers subscribe to. */
export const BENCH_PATTERN = "bench.>";

/** The topics of a publisher. */
export function benchTopics(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `bench.load.${index}`);
}

/** The two topics of a round trip. */
export const PING_TOPIC = "bench-ping";
export const PONG_TOPIC = "bench-pong";
