/** dbus-next, with signals that hold a byte array. */

import { BENCH_INTERFACE, BENCH_PATH, matchRuleOf, memberOf } from "./dbus-dialect.ts";
import { loadPackage, type NpmClient } from "./npm-client.ts";

interface Message {
  readonly interface: string;
  readonly body: unknown[];
}

interface Bus {
  call(message: Message): Promise<Message>;
  send(message: Message): void;
  disconnect(): void;
  on(event: "message", listener: (message: Message) => void): void;
}

interface DbusNext {
  readonly sessionBus: (options: { busAddress: string }) => Bus;
  readonly Message: {
    new (fields: Record<string, unknown>): Message;
    newSignal(
      path: string,
      interfaceName: string,
      member: string,
      signature: string,
      body: unknown[],
    ): Message;
  };
}

const BUS = "org.freedesktop.DBus";

/** Connects. */
export async function connect(address: string): Promise<NpmClient> {
  const dbus = await loadPackage<{ default: DbusNext } & DbusNext>("dbus-next");
  const { sessionBus, Message } = dbus.default ?? dbus;
  const bus = sessionBus({ busAddress: `unix:path=${address}` });
  const callBus = (fields: Record<string, unknown>): Promise<Message> =>
    bus.call(
      new Message({ destination: BUS, path: "/org/freedesktop/DBus", interface: BUS, ...fields }),
    );
  await callBus({ member: "GetId" });
  return {
    async subscribe(topics, onBody) {
      bus.on("message", (message) => {
        if (message.interface === BENCH_INTERFACE) onBody(message.body[0] as Uint8Array);
      });
      await callBus({ member: "AddMatch", signature: "s", body: [matchRuleOf(topics)] });
    },
    publish(topic, body) {
      bus.send(Message.newSignal(BENCH_PATH, BENCH_INTERFACE, memberOf(topic), "ay", [body]));
    },
    async flush() {
      await callBus({ member: "GetId" });
    },
    async close() {
      bus.disconnect();
    },
  };
}
