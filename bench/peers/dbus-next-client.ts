/** dbus-next, with signals and methods that hold a byte array. */

import { BENCH_INTERFACE, BENCH_PATH, matchRuleOf, memberOf } from "./dbus-dialect.ts";
import { loadPackage, type NpmCaller, type NpmClient } from "./npm-client.ts";

interface Message {
  readonly interface: string;
  readonly body: unknown[];
}

interface Bus {
  call(message: Message): Promise<Message>;
  send(message: Message): void;
  disconnect(): void;
  addMethodHandler(handler: (message: Message) => boolean): void;
  requestName(name: string, flags: number): Promise<number>;
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
    newMethodReturn(call: Message, signature: string, body: unknown[]): Message;
  };
}

const BUS = "org.freedesktop.DBus";

/** Whom calls are for. */
const SERVICE_NAME = "org.seqbus.Bench";

async function open(address: string): Promise<{ bus: Bus; Message: DbusNext["Message"] }> {
  const dbus = await loadPackage<{ default: DbusNext } & DbusNext>("dbus-next");
  const { sessionBus, Message } = dbus.default ?? dbus;
  return { bus: sessionBus({ busAddress: `unix:path=${address}` }), Message };
}

/** Connects, to publish and subscribe. */
export async function connect(address: string): Promise<NpmClient> {
  const { bus, Message } = await open(address);
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

/** Connects, to call. The name of a call is its method. */
export async function connectCaller(address: string): Promise<NpmCaller> {
  const { bus, Message } = await open(address);
  return {
    async serve() {
      bus.addMethodHandler((message) => {
        if (message.interface !== BENCH_INTERFACE) return false;
        bus.send(Message.newMethodReturn(message, "ay", message.body));
        return true;
      });
      await bus.requestName(SERVICE_NAME, 0);
    },
    async call(name, body) {
      const message = new Message({
        destination: SERVICE_NAME,
        path: BENCH_PATH,
        interface: BENCH_INTERFACE,
        member: memberOf(name),
        signature: "ay",
        body: [body],
      });
      const { body: answer } = await bus.call(message);
      return answer[0] as Uint8Array;
    },
  };
}
