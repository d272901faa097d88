/** ioredis, with the commands of one tick sent together. */

import { loadPackage, type NpmClient } from "./npm-client.ts";

interface Redis {
  subscribe(...channels: string[]): Promise<unknown>;
  publish(channel: string, body: Uint8Array): Promise<number>;
  ping(): Promise<unknown>;
  quit(): Promise<unknown>;
  on(event: "messageBuffer", listener: (channel: Buffer, body: Buffer) => void): void;
}

interface Ioredis {
  readonly Redis: new (options: { path: string; enableAutoPipelining: boolean }) => Redis;
}

/** Connects. */
export async function connect(address: string): Promise<NpmClient> {
  const { Redis } = await loadPackage<Ioredis>("ioredis");
  const redis = new Redis({ path: address, enableAutoPipelining: true });
  return {
    async subscribe(topics, onBody) {
      redis.on("messageBuffer", (_channel, body) => onBody(body));
      await redis.subscribe(...topics);
    },
    publish(topic, body) {
      redis.publish(topic, body).catch((error) => {
        throw error;
      });
    },
    async flush() {
      await redis.ping();
    },
    async close() {
      await redis.quit();
    },
  };
}
