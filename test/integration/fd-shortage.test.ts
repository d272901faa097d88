/**
 * A broker that may open only a few files more, or none: whatever is asked of it then, it serves on,
 * and once there is room again nothing is missing and nothing was left open.
 */

import { expect } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { type Bus, connect, Memory } from "../../src/client/index.ts";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { openSeqpacketPair } from "../../src/ffi/seqpacket.ts";
import { CliBroker } from "../support/cli-process.ts";
import { CONDITION_TIMEOUT_MS, eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";
import { countFds, HAS_PRLIMIT, leaveFds, NO_PRLIMIT } from "../support/open-files.ts";
import { openPipe } from "../support/pipes.ts";
import { messagePacket, RawClient } from "../support/raw-client.ts";

/** Fds that the broker is left, each in a broker of its own. */
const LEFT = [0, 1, 2, 3, 4, 5, 6, 7, 8];

const POLICY = `
[[rule]]
allow = ["publish", "subscribe", "call", "serve", "channel", "send-fds", "receive-fds"]
topics = [">"]
any = true

[[topic]]
topics = [">"]
fds = ["memfd", "memfd-sealed", "file", "file-read-only", "pipe", "socket", "device"]
`;

/** More than the broker frees on its own thread. */
const LARGE_BYTES = 6 * 1024 * 1024;

/** The default time is short for a busy machine and a broker that waits for a thread. */
function connectTo(path: string): Promise<Bus> {
  return connect({ path, reconnect: false, timeoutMs: CONDITION_TIMEOUT_MS });
}

/** Who is connected before there are too few fds. */
class Clients implements AsyncDisposable {
  readonly publisher: Bus;
  readonly caller: Bus;
  readonly bystander: RawClient;
  /** Subscribed to `unread`, and reads nothing of it. */
  readonly idler: RawClient;
  readonly raw: RawClient;
  readonly #others: readonly Bus[];
  readonly #broker: CliBroker;
  /** Messages that came to the subscriber. */
  arrived = 0;

  private constructor(broker: CliBroker, raw: readonly RawClient[], buses: readonly Bus[]) {
    const [bystander, idler, own] = raw;
    const [publisher, caller, ...others] = buses;
    if (!bystander || !idler || !own || !publisher || !caller) throw new Error("Too few clients");
    this.#broker = broker;
    this.bystander = bystander;
    this.idler = idler;
    this.raw = own;
    this.publisher = publisher;
    this.caller = caller;
    this.#others = others;
  }

  static async connect(broker: CliBroker): Promise<Clients> {
    const raw = await Promise.all([1, 2, 3].map(() => RawClient.open(broker.socket)));
    const buses = await Promise.all([1, 2, 3].map(() => connectTo(broker.socket)));
    const clients = new Clients(broker, raw, buses);
    await clients.#prepare();
    return clients;
  }

  async #prepare(): Promise<void> {
    const [other] = this.#others;
    await this.idler.subscribe("unread");
    await other?.subscribe("read.>", {
      onMessage: () => {
        this.arrived += 1;
      },
    });
    await other?.serve("echo", ({ data }) => data, { onChannel: (channel) => channel.close() });
  }

  get socket(): string {
    return this.#broker.socket;
  }

  get pid(): number {
    return this.#broker.process.pid;
  }

  signal(signal: NodeJS.Signals): void {
    this.#broker.process.signal(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of [this.bystander, this.idler, this.raw]) client[Symbol.dispose]();
    for (const bus of [this.publisher, this.caller, ...this.#others]) await bus.close();
  }
}

/** What all acts together send to the subscriber that reads. */
const MESSAGES_READ = 4;

/** Something that a broker may be asked for at any time. It may refuse, for want of fds. */
type Act = (clients: Clients) => Promise<unknown>;

/** Sends these fds to a topic, and waits for the broker's word. */
async function send({ publisher }: Clients, topic: string, fds: readonly number[]): Promise<void> {
  publisher.publish(topic, "", { fds });
  for (const fd of fds) closeFd(fd);
  await publisher.flush();
}

/** An fd whose close may hang, for all that the broker knows. */
function openFile(): number {
  return openSync("/proc/self/status", "r");
}

async function sendUnread({ raw }: Clients): Promise<void> {
  using memory = Memory.from("small").seal();
  const topic = await raw.openTopic("unread");
  await raw.sendEventually(messagePacket(topic, "", 1), [memory.fd]);
  // Asks which fds were taken.
  await raw.sync();
}

async function retain({ publisher }: Clients): Promise<void> {
  const fd = openFile();
  publisher.publish("kept", "", { fds: [fd], retain: true });
  closeSync(fd);
  await publisher.flush();
  await publisher.clearRetained("kept");
}

async function comeAndGo({ socket }: Clients): Promise<void> {
  const bus = await connectTo(socket);
  await bus.close();
}

const ACTS: Readonly<Record<string, Act>> = {
  stats: ({ publisher }) => Array.fromAsync(publisher.query("stats")),
  "a file that nobody takes": (clients) => send(clients, "nobody", [openFile()]),
  "memory for a client that does not read": sendUnread,
  "a file that somebody takes": (clients) => send(clients, "read.file", [openFile()]),
  "a pipe": (clients) => send(clients, "read.pipe", Object.values(openPipe())),
  sockets: (clients) => send(clients, "read.sockets", openSeqpacketPair()),
  "a large body": async ({ publisher }) => {
    publisher.publish("read.large", new Uint8Array(LARGE_BYTES));
    await publisher.flush();
  },
  "a call with a large body and a file": async ({ caller }) => {
    const fd = openFile();
    const answer = caller.call("echo", new Uint8Array(LARGE_BYTES), { fds: [fd] });
    closeSync(fd);
    using _reply = await answer;
  },
  "a channel": async ({ caller }) => {
    const channel = await caller.openChannel("echo");
    await channel.close();
  },
  "a last value with a file": retain,
  "ls and whois": async ({ publisher }) => {
    for (const what of ["clients", "services", "topics", "subscriptions"] as const) {
      await Array.fromAsync(publisher.query(what));
    }
    await Array.fromAsync(publisher.query("client", { about: `${publisher.self.connection}` }));
  },
  "policy explain": ({ publisher }) => publisher.explain({ action: "publish", topic: "a", uid: 1 }),
  "policy reload": ({ publisher }) => publisher.reloadPolicy(),
  "a SIGHUP, and a reload behind it": async (clients) => {
    clients.signal("SIGHUP");
    await clients.publisher.reloadPolicy();
  },
  "a newcomer": comeAndGo,
};

/** Waits for an answer: whatever was asked, or that there is no room for it. */
async function settle(answer: Promise<unknown>): Promise<void> {
  try {
    await answer;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    if (!/^(LIMIT_|CONFIG_POLICY$)/.test(code)) throw error;
  }
}

for (const left of LEFT) {
  testUnless(
    !HAS_PRLIMIT,
    NO_PRLIMIT,
    `a broker that is left ${left} fds serves on, and lacks nothing afterwards`,
    async () => {
      await using broker = await CliBroker.start(POLICY, {}, true);
      await using clients = await Clients.connect(broker);
      const atRest = countFds(clients);
      for (const act of Object.values(ACTS)) {
        using _limit = leaveFds(clients, left);
        await settle(act(clients));
        expect(await clients.bystander.sync()).toMatchObject({ published: 0 });
      }
      const before = clients.arrived;
      for (const act of Object.values(ACTS)) await act(clients);
      const areThere = () => clients.arrived >= before + MESSAGES_READ;
      await eventually(areThere, "what is sent arrives");
      for (const { fds } of clients.idler.received()) for (const fd of fds) closeFd(fd);
      const isAtRest = () => countFds(clients) === atRest;
      await eventually(isAtRest, () => `${countFds(clients)} fds are open, ${atRest} at first`);
    },
  );
}
