/** MQTT.js, QoS 0. */

import { mqttTopicOf } from "./mqtt-dialect.ts";
import { loadPackage, type NpmClient } from "./npm-client.ts";

interface Client {
  subscribeAsync(filter: string, options: { qos: 0 }): Promise<unknown>;
  publish(topic: string, body: Uint8Array, options: { qos: 0 }): void;
  publishAsync(topic: string, body: Uint8Array, options: { qos: 0 }): Promise<unknown>;
  endAsync(): Promise<unknown>;
  on(event: "message", listener: (topic: string, body: Buffer) => void): void;
}

interface Mqtt {
  readonly connectAsync: (url: string) => Promise<Client>;
}

const QOS = { qos: 0 } as const;

/** Connects. */
export async function connect(address: string): Promise<NpmClient> {
  const { connectAsync } = await loadPackage<Mqtt>("mqtt");
  const client = await connectAsync(`mqtt+unix://${address}`);
  return {
    async subscribe(topics, onBody) {
      client.on("message", (_topic, body) => onBody(body));
      const [first = ""] = topics;
      await client.subscribeAsync(topics.length > 1 ? "bench/load/#" : mqttTopicOf(first), QOS);
    },
    publish: (topic, body) => client.publish(mqttTopicOf(topic), body, QOS),
    async flush() {
      await client.publishAsync("flushed", new Uint8Array(), QOS);
    },
    async close() {
      await client.endAsync();
    },
  };
}
