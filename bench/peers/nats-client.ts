/** @nats-io/transport-node, with callbacks. */

import { loadPackage, type NpmCaller, type NpmClient } from "./npm-client.ts";

interface Message {
  readonly data: Uint8Array;
  respond(body: Uint8Array): boolean;
}

interface Connection {
  subscribe(
    subject: string,
    options: { callback: (error: Error | null, message: Message) => void },
  ): void;
  request(subject: string, body: Uint8Array): Promise<Message>;
  publish(subject: string, body: Uint8Array): void;
  flush(): Promise<void>;
  close(): Promise<void>;
}

interface Nats {
  readonly connect: (options: { servers: string }) => Promise<Connection>;
}

async function open(address: string): Promise<Connection> {
  const nats = await loadPackage<Nats>("@nats-io/transport-node");
  return await nats.connect({ servers: address });
}

/** Connects, to publish and subscribe. */
export async function connect(address: string): Promise<NpmClient> {
  const connection = await open(address);
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

/** Connects, to call. */
export async function connectCaller(address: string): Promise<NpmCaller> {
  const connection = await open(address);
  return {
    async serve(name) {
      connection.subscribe(name, {
        callback: (error, message) => {
          if (error !== null) throw error;
          message.respond(message.data);
        },
      });
      await connection.flush();
    },
    async call(name, body) {
      const { data } = await connection.request(name, body);
      return data;
    },
  };
}
