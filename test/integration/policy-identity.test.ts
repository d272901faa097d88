/** Rules on what a process is, not only on whose it is: decided end to end, with real processes. */

import { describe, expect, test } from "bun:test";
import { copyFileSync, linkSync, mkdirSync, readFileSync, realpathSync, rmdirSync } from "node:fs";
import { connect, type Message, type QueryEntry } from "../../src/client/index.ts";
import { CliBroker, SEQBUS, TemporaryDirectory } from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";
import { testUnless } from "../support/loud-skip.ts";

const BUN = realpathSync(process.execPath);
const EVERYBODY_READS = `
[[rule]]
allow = ["subscribe"]
topics = [">"]
any = true
`;

/** Subscribes, runs a command that publishes, and waits for its message. */
async function messageOf(broker: CliBroker, command: () => Promise<unknown>): Promise<Message> {
  await using bus = await connect({ path: broker.socket });
  const messages = await bus.subscribe(">");
  await command();
  return (await messages.next()).value as Message;
}

/** Another path to the same program. A link will do, where the file systems allow it. */
function anotherBun(directory: TemporaryDirectory): string {
  const path = directory.file("bun");
  try {
    linkSync(BUN, path);
  } catch {
    copyFileSync(BUN, path);
  }
  return path;
}

describe("a rule on an executable", () => {
  test("holds for that program and not for a copy of it elsewhere", async () => {
    using directory = new TemporaryDirectory();
    await using broker = await CliBroker.start(`${EVERYBODY_READS}
[[rule]]
id = "trusted-program"
allow = ["publish"]
topics = ["trusted.>"]
exe = "${BUN}"
`);
    const message = await messageOf(broker, () => broker.run(["pub", "trusted.a", "hello"]));
    expect(message.data).toBe("hello");
    expect(message.sender.exe).toBe(BUN);
    const command = [anotherBun(directory), ...SEQBUS.slice(1)];
    const refused = await broker.run(["pub", "trusted.a", "hello"], { command });
    expect(refused.stderr).toContain("no rule allows it");
    expect(refused.exitCode).toBe(4);
  });
});

describe("a rule on a supplementary group", () => {
  testUnless(
    process.getuid?.() !== 0,
    "needs root for setpriv",
    "holds for its members",
    async () => {
      await using broker = await CliBroker.start(`${EVERYBODY_READS}
[[rule]]
id = "group-only"
allow = ["publish"]
topics = [">"]
group = 61234
`);
      const asMember = { prefix: ["setpriv", "--groups=61233,61234"] };
      const message = await messageOf(broker, () => broker.run(["pub", "a", "hello"], asMember));
      expect(message.sender.groups).toEqual([61233, 61234]);
      const asStranger = { prefix: ["setpriv", "--groups=61233"] };
      expect((await broker.run(["pub", "a", "hello"], asStranger)).exitCode).toBe(4);
    },
  );
});

/** Where the version 2 hierarchy is mounted, on hybrid systems beside the first. */
function unifiedCgroupMount(): string | undefined {
  const mounts = readFileSync("/proc/self/mounts", "utf8");
  return /^\S+ (\S+) cgroup2 rw/m.exec(mounts)?.[1];
}

/** A cgroup as systemd would make it for a service; removed once it is empty. */
class ServiceCgroup implements Disposable {
  readonly unit: string = `seqbus-test-${process.pid}.service`;
  readonly #path: string;

  constructor(mount: string) {
    this.#path = `${mount}/${this.unit}`;
    mkdirSync(this.#path);
  }

  /** Words that start a command in it. */
  get prefix(): string[] {
    return ["sh", "-c", `echo $$ > ${this.#path}/cgroup.procs && exec "$@"`, "sh"];
  }

  [Symbol.dispose](): void {
    rmdirSync(this.#path);
  }
}

/** What the broker tells of all units. */
async function unitEntries(broker: CliBroker): Promise<QueryEntry[]> {
  await using bus = await connect({ path: broker.socket });
  const entries = await Array.fromAsync(bus.query("stats"));
  return entries.filter(({ kind }) => kind === "unit");
}

describe("a rule on a unit", () => {
  const mount = unifiedCgroupMount();
  const isImpossible = mount === undefined || process.getuid?.() !== 0;
  testUnless(
    isImpossible,
    "needs root and a cgroup2 mount",
    "holds for its processes",
    async () => {
      using service = new ServiceCgroup(mount ?? "");
      await using broker = await CliBroker.start(`${EVERYBODY_READS}
[[rule]]
id = "service-only"
allow = ["publish"]
topics = ["service.>"]
unit = "seqbus-test-*.service"
`);
      const inService = { prefix: service.prefix };
      const message = await messageOf(broker, () =>
        broker.run(["pub", "service.a", "x"], inService),
      );
      expect(message.sender.unit).toBe(service.unit);
      const figures = { published: 1, matched: 1, dropped: 0, connectionsGone: 1 };
      const entry = await eventually(async () => {
        const entries = await unitEntries(broker);
        return entries.find(({ unit, connections }) => unit === service.unit && connections === 0);
      }, "the figures of the unit are told");
      expect(entry).toMatchObject(figures);
      const outside = await broker.run(["pub", "service.a", "x"]);
      expect(outside.stderr).toContain("no rule allows it");
      expect(outside.exitCode).toBe(4);
    },
  );
});
