import { describe, expect, test } from "bun:test";
import { chmodSync } from "node:fs";
import { type Bus, connect, type Message, type StatusEvent } from "../../src/client/index.ts";
import { CliBroker } from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";
import { rejectionOf } from "../support/mortal-broker.ts";

const OPEN = `
[[rule]]
id = "all-open"
allow = ["publish", "subscribe", "send-fds", "receive-fds"]
topics = [">"]
any = true
`;

const NO_SECRETS = `${OPEN}
[[rule]]
id = "no-secrets"
deny = ["publish", "subscribe"]
topics = ["secret.>"]
any = true
`;

/** Collects the status events of a bus. */
function collect(bus: Bus): StatusEvent[] {
  const events: StatusEvent[] = [];
  const reading = async () => {
    for await (const event of bus.status()) events.push(event);
  };
  void reading();
  return events;
}

function writePolicy(broker: CliBroker, text: string): void {
  broker.directory.write("policy.toml", text);
}

describe("a reload of the policy", () => {
  test("revokes a live subscription and names the rule", async () => {
    await using broker = await CliBroker.start(OPEN);
    await using bus = await connect({ path: broker.socket });
    const events = collect(bus);
    const secrets = await bus.subscribe("secret.*");
    const others = await bus.subscribe("open.*");
    writePolicy(broker, NO_SECRETS);
    expect(await bus.reloadPolicy()).toBe(2);
    expect(await rejectionOf(secrets.next())).toMatchObject({
      code: "REJECTED_BY_POLICY",
      rule: "no-secrets",
      topic: "secret.*",
    });
    bus.publish("open.a", "still here");
    expect((await others.next()).value?.data).toBe("still here");
    expect(events).toContainEqual({ type: "policy-changed" });
    expect(events).toContainEqual(
      expect.objectContaining({ type: "revoked", action: "subscribe", topic: "secret.*" }),
    );
  });

  test("keeps a wildcard subscription and takes out of it what is denied now", async () => {
    await using broker = await CliBroker.start(OPEN);
    await using bus = await connect({ path: broker.socket });
    await using reader = await connect({ path: broker.socket });
    const everything = await reader.subscribe(">");
    bus.publish("secret.a", "before");
    bus.publish("open.a", "before");
    await bus.flush();
    writePolicy(broker, OPEN.replace('topics = [">"]', 'topics = ["open.>"]'));
    await bus.reloadPolicy();
    // Before the broker reads the next packet it has told of rights that are gone.
    await bus.flush();
    expect(() => bus.publish("secret.a", "after")).toThrow("no rule allows it");
    bus.publish("open.a", "after");
    await bus.flush();
    const seen: unknown[] = [];
    for await (const message of everything) {
      seen.push(`${message.topic} ${message.data}`);
      if (seen.length === 3) break;
    }
    expect(seen).toEqual(["secret.a before", "open.a before", "open.a after"]);
  });

  test("lets go of the last values of topics that have none any more, and of no other", async () => {
    await using broker = await CliBroker.start(OPEN);
    await using bus = await connect({ path: broker.socket });
    for (const topic of ["secret.a", "open.a"]) bus.publish(topic, topic, { retain: true });
    await bus.flush();
    writePolicy(broker, `${OPEN}\n[[topic]]\ntopics = ["secret.>"]\nretain = false\n`);
    await bus.reloadPolicy();

    const given = async () => {
      const topics: string[] = [];
      const onMessage = ({ topic }: Message) => void topics.push(topic);
      await using _everything = await bus.subscribe(">", { onMessage });
      await bus.flush();
      return topics;
    };
    await eventually(async () => !(await given()).includes("secret.a"), "it is gone");
    expect(await given()).toEqual(["open.a"]);
  });

  test("counts messages under way on a revoked topic as denied and keeps the connection", async () => {
    await using broker = await CliBroker.start(OPEN);
    await using publisher = await connect({ path: broker.socket });
    await using administrator = await connect({ path: broker.socket });
    await using reader = await connect({ path: broker.socket });
    const opened = await reader.subscribe("open.*");
    const events = collect(publisher);
    publisher.publish("secret.a", 1);
    publisher.publish("open.a", 1);
    await publisher.flush();
    writePolicy(broker, NO_SECRETS.replace(', "subscribe"]', "]"));
    await administrator.reloadPolicy();
    await eventually(() => events.some(({ type }) => type === "revoked"), "the right is revoked");
    expect(() => publisher.publish("secret.a", 2)).toThrow('rule "no-secrets" denies it');
    publisher.publish("open.a", 2);
    await publisher.flush();
    expect([(await opened.next()).value?.data, (await opened.next()).value?.data]).toEqual([1, 2]);
  });

  test("gives new rights without reconnecting", async () => {
    await using broker = await CliBroker.start(NO_SECRETS);
    await using bus = await connect({ path: broker.socket });
    expect(await rejectionOf(bus.subscribe("secret.a"))).toMatchObject({ rule: "no-secrets" });
    bus.publish("secret.a", "early");
    const denial = { code: "REJECTED_BY_POLICY", rule: "no-secrets" };
    expect(await rejectionOf(bus.flush())).toMatchObject(denial);
    writePolicy(broker, OPEN);
    await bus.reloadPolicy();
    const secrets = await bus.subscribe("secret.a");
    bus.publish("secret.a", "late");
    expect((await secrets.next()).value?.data).toBe("late");
  });

  test("happens on SIGHUP too", async () => {
    await using broker = await CliBroker.start(OPEN);
    await using bus = await connect({ path: broker.socket });
    const events = collect(bus);
    await bus.subscribe("secret.*");
    writePolicy(broker, NO_SECRETS);
    broker.process.signal("SIGHUP");
    await eventually(() => events.some(({ type }) => type === "revoked"), "the right is revoked");
    expect(await bus.flush()).toMatchObject({ published: 0 });
  });

  test("keeps the old policy where the new one is wrong, and says file and line", async () => {
    await using broker = await CliBroker.start(OPEN);
    await using bus = await connect({ path: broker.socket });
    writePolicy(broker, `${OPEN}\n[[rule]]\nid = "typo"\nalow = ["publish"]\n`);
    expect(await rejectionOf(bus.reloadPolicy())).toMatchObject({
      code: "CONFIG_POLICY",
      message: expect.stringContaining("policy.toml:10:1: Unknown key"),
    });
    await eventually(
      () => broker.process.stderr.includes("the old one stays in force"),
      "the log says so",
    );
    bus.publish("secret.a", 1);
    expect(await bus.flush()).toMatchObject({ published: 1 });
  });

  test("is refused to ordinary users, who may still ask about themselves", async () => {
    await using broker = await CliBroker.start(NO_SECRETS);
    chmodSync(broker.directory.path, 0o755);
    const asStranger = { prefix: ["setpriv", "--reuid=60901", "--regid=60901", "--clear-groups"] };
    const reload = await broker.run(["policy", "reload"], asStranger);
    expect(reload.stderr).toContain("as uid 60901: only root and uid 0 may");
    expect(reload.exitCode).toBe(4);
    const question = ["policy", "explain", "publish", "secret.a"];
    const words = [...question, "--user"];
    const own = await broker.run([...words, "60901"], asStranger);
    expect(own.stdout).toContain('denied: uid 60901 may not publish on "secret.a"');
    expect(own.stdout).toContain("no-secrets");
    expect(own.exitCode).toBe(4);
    expect(await broker.run(question, asStranger)).toEqual(own);
    const other = await broker.run([...words, "60902"], asStranger);
    expect(other.stderr).toContain("Cannot ask about others as uid 60901");
    expect((await broker.run([...words, "60902"])).stdout).toContain("denied: uid 60902");
  });

  test("by `seqbus policy reload` says how many rules are in force, or what is wrong", async () => {
    await using broker = await CliBroker.start(OPEN);
    writePolicy(broker, NO_SECRETS);
    const good = await broker.run(["policy", "reload"]);
    expect(good).toMatchObject({ exitCode: 0, stdout: "ok: 2 rules are in force\n" });
    writePolicy(broker, "");
    const bad = await broker.run(["policy", "reload"]);
    expect(bad.stderr).toContain("policy.toml:1:1: No rule");
    expect(bad.exitCode).toBe(5);
  });
});

describe("a permissive policy", () => {
  test("delivers what it would deny, and the log says so", async () => {
    await using broker = await CliBroker.start(`mode = "permissive"\n${NO_SECRETS}`);
    await using bus = await connect({ path: broker.socket });
    const secrets = await bus.subscribe("secret.*");
    bus.publish("secret.a", "seen");
    expect((await secrets.next()).value?.data).toBe("seen");
    await eventually(
      () => broker.process.stderr.includes('would deny publish on "secret.a"'),
      "the log says what would be denied",
    );
  });
});
