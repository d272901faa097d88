/** `seqbus pub` and `seqbus sub --bytes` carry bodies of any size, byte for byte. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "../../src/client/index.ts";
import { LARGE_BODY_BYTES_MAX } from "../../src/protocol/limits.ts";
import { CliProcess } from "../support/cli-process.ts";
import { eventually } from "../support/eventually.ts";
import { type SpawnedBroker, spawnBroker } from "../support/spawned-broker.ts";
import { countingBytes } from "../support/test-memory.ts";

let broker: SpawnedBroker;
let directory: string;

beforeAll(async () => {
  broker = await spawnBroker();
  directory = mkdtempSync(join(tmpdir(), "seqbus-test-"));
});

afterAll(async () => {
  rmSync(directory, { recursive: true });
  await broker[Symbol.asyncDispose]();
});

/** Waits until somebody subscribes to a topic; empty bodies leave no trace in the output. */
async function subscribed(topic: string): Promise<void> {
  await using bus = await connect({ path: broker.path });
  await eventually(async () => {
    bus.publish(topic, new Uint8Array(0));
    return (await bus.flush()).delivered === 1;
  }, `somebody subscribes to ${topic}`);
}

async function publish(topic: string, stdin: Uint8Array): Promise<number> {
  const words = ["pub", topic, "--bytes", "--socket", broker.path];
  await using pub = new CliProcess(words, { stdin });
  return (await pub.result()).exitCode;
}

test("pub takes standard input of any size, and sub --bytes prints it as it was", async () => {
  const output = join(directory, "output");
  const prefix = ["sh", "-c", `exec "$@" >"${output}"`, "sh"];
  const words = ["sub", "big.*", "--bytes", "--socket", broker.path];
  await using sub = new CliProcess(words, { prefix });
  await subscribed("big.a");
  const bodies = [70_000, 5, 3_000_000].map((bytes, index) => countingBytes(bytes, index));
  for (const body of bodies) expect(await publish("big.a", body)).toBe(0);
  const whole = Buffer.concat(bodies);
  await eventually(() => statSync(output).size >= whole.byteLength, "all of it was printed");
  expect(readFileSync(output).equals(whole)).toBe(true);
  expect(sub.stderr).toBe("");
});

test("a body of 64 MiB goes through pub and sub --bytes as it is, without a line end", async () => {
  const output = join(directory, "largest");
  const prefix = ["sh", "-c", `exec "$@" >"${output}"`, "sh"];
  const words = ["sub", "largest", "--bytes", "--count", "1", "--verbose", "--socket", broker.path];
  await using sub = new CliProcess(words, { prefix });
  await sub.logged("subscribed");
  const body = countingBytes(LARGE_BODY_BYTES_MAX, 1);
  expect(await publish("largest", body)).toBe(0);
  expect((await sub.result()).exitCode).toBe(0);
  expect(statSync(output).size).toBe(body.byteLength);
  expect(readFileSync(output).equals(body)).toBe(true);
});

test("pub refuses more than the bus carries, and sends nothing", async () => {
  const words = ["pub", "big.b", "--bytes", "--socket", broker.path];
  const stdin = new Uint8Array(LARGE_BODY_BYTES_MAX + 1);
  await using pub = new CliProcess(words, { stdin });
  const { exitCode, stderr } = await pub.result();
  expect(exitCode).not.toBe(0);
  expect(stderr).toContain(`more than ${LARGE_BODY_BYTES_MAX} bytes`);
});

test.each([["--json"], ["--cat-fds"]])("sub --bytes goes with no %s", async (option) => {
  await using sub = new CliProcess(["sub", "a", "--bytes", option]);
  const { exitCode, stderr } = await sub.result();
  expect(exitCode).not.toBe(0);
  expect(stderr).toContain("--bytes");
});
