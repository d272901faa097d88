/** @nats-io/transport-node, with callbacks. */

import { loadPackage, type NpmClient } from "./npm-client.ts";

interface Connection {
  subscribe(
    subject: string,
    options: { callback: (error: Error | null, message: { data: Uint8Array }) => void },
  ): void;
  publish(subject: string, body: Uint8Array): void;
  flush(): Promise<void>;
  close(): Promise<void>;
}

interface Nats {
  readonly connect: (options: { servers: string }) => Promise<Connection>;
}

/** Connects. */
export async function connect(address: string): Promise<NpmClient> {
  const nats = await loadPackage<Nats>("@nats-io/transport-node");
  const connection = await nats.connect({ servers: address });
  return {
    async subscribe(topics, onBody) {
      const [first = ""] = topics;
      const subject = topics.length > 1 ? "bench.load.>" : first;
      connection.subscribe(subject, {
        callback: (error, { data }) => {
          if (error !== null) throw error;
          onBody(data);
        },
      });
      await connection.flush();
    },
    publish: (topic, body) => connection.publish(topic, body),
    flush: () => connection.flush(),
    close: () => connection.close(),
  };
}
