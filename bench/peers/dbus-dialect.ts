/** D-Bus signals with a byte array, as dbus-daemon and dbus-broker pass them on. */

import { DBUS_TYPE, DbusWriter, encodeDbusMessage, readDbusLayout } from "./dbus-wire.ts";
import { type Dialect, noMessage, type PeerIntent, receiveLine } from "./dialect.ts";
import type { PeerStream } from "./peer-stream.ts";

const BUS = "org.freedesktop.DBus";
const BUS_PATH = "/org/freedesktop/DBus";

/** What the signals of a benchmark have in common. */
export const BENCH_INTERFACE = "org.seqbus.Bench";
export const BENCH_PATH = "/bench";

/** Prebuilt messages are sent over and over, so all have one serial. */
const MESSAGE_SERIAL = 1_000_000;

/** The bytes of an array come after their number. */
const ARRAY_LENGTH_BYTES = 4;

/** A topic as a member name, which has letters, digits and underscores. */
export function memberOf(topic: string): string {
  return topic.replace(/[^A-Za-z0-9]/g, "_");
}

/** The match rule of a topic, or of all. */
export function matchRuleOf(topics: readonly string[]): string {
  const rule = `type='signal',interface='${BENCH_INTERFACE}'`;
  const [first] = topics;
  return topics.length === 1 && first !== undefined ? `${rule},member='${memberOf(first)}'` : rule;
}

/** SASL EXTERNAL: the kernel says who this is. */
export function authenticate(stream: PeerStream): void {
  const uid = Buffer.from(String(process.getuid?.() ?? 0)).toString("hex");
  stream.say(Buffer.from(`\0AUTH EXTERNAL ${uid}\r\n`));
  expectLine(stream, "OK ");
  stream.say(Buffer.from("NEGOTIATE_UNIX_FD\r\n"));
  expectLine(stream, "AGREE_UNIX_FD");
  stream.say(Buffer.from("BEGIN\r\n"));
}

function expectLine(stream: PeerStream, wanted: string): void {
  const line = receiveLine(stream);
  if (!line.startsWith(wanted)) throw new Error(`The bus answered "${line}", wanted "${wanted}"`);
}

/** A method of the bus itself, and its answer awaited. Signals in between are passed over. */
export function callBus(stream: PeerStream, serial: number, member: string, text?: string): void {
  const body = text === undefined ? new Uint8Array() : new DbusWriter().string(text).finish();
  const header = { type: DBUS_TYPE.CALL, serial, path: BUS_PATH, interface: BUS, member };
  const signature = text === undefined ? {} : { signature: "s" };
  stream.say(encodeDbusMessage({ ...header, destination: BUS, ...signature }, body));
  awaitAnswer(stream, member);
}

/** Blocks until an answer to the one call under way has come. */
export function awaitAnswer(stream: PeerStream, call: string): void {
  for (;;) {
    const layout = readDbusLayout(stream.buffer.bytes, stream.start, stream.end);
    if (layout === undefined || stream.end - stream.start < layout.totalBytes) {
      stream.receive();
      continue;
    }
    const { start } = stream;
    stream.start += layout.totalBytes;
    if (layout.type === DBUS_TYPE.RETURN) return;
    if (layout.type !== DBUS_TYPE.ERROR) continue;
    const text = stream.buffer.bytes.subarray(start, start + layout.totalBytes);
    throw new Error(`${call} failed: ${Buffer.from(text).toString("latin1")}`);
  }
}

function enter(stream: PeerStream, intent: PeerIntent): void {
  authenticate(stream);
  callBus(stream, 1, "Hello");
  if (intent.subscribe.length === 0) return;
  const rules = intent.isSeparate
    ? intent.subscribe.map(
        (topic) => `type='signal',interface='${BENCH_INTERFACE}.${memberOf(topic)}'`,
      )
    : [matchRuleOf(intent.subscribe)];
  for (const rule of rules) callBus(stream, 2, "AddMatch", rule);
}

function encodePublish(topic: string, body: Uint8Array, fds: number): Uint8Array {
  const content = new DbusWriter().u32(body.byteLength).raw(body);
  for (let index = 0; index < fds; index += 1) content.u32(index);
  return encodeDbusMessage(
    {
      type: DBUS_TYPE.SIGNAL,
      serial: MESSAGE_SERIAL,
      path: BENCH_PATH,
      interface: BENCH_INTERFACE,
      member: memberOf(topic),
      signature: `ay${"h".repeat(fds)}`,
      ...(fds > 0 && { unixFds: fds }),
    },
    content.finish(),
  );
}

/** D-Bus as dbus-broker takes it best. */
export const dbusDialect: Dialect = {
  pauseMs: 0,
  enter,
  encodePublish,
  readDelivery(bytes, at, end) {
    const layout = readDbusLayout(bytes, at, end);
    if (layout === undefined) return undefined;
    const { totalBytes, bodyAt } = layout;
    if (layout.type !== DBUS_TYPE.SIGNAL) return noMessage(totalBytes);
    if (end - at < bodyAt) return undefined;
    if (!isFromBench(bytes, at, bodyAt)) return noMessage(totalBytes);
    if (end - at < bodyAt + ARRAY_LENGTH_BYTES) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset + at + bodyAt, ARRAY_LENGTH_BYTES);
    return {
      totalBytes,
      bodyAt: bodyAt + ARRAY_LENGTH_BYTES,
      bodyBytes: view.getUint32(0, true),
      lengthAt: bodyAt,
    };
  },
};

/** The bus has signals of its own: NameAcquired comes to everybody. */
function isFromBench(bytes: Uint8Array, at: number, headerBytes: number): boolean {
  const header = Buffer.from(bytes.buffer, bytes.byteOffset + at, headerBytes);
  return header.includes(BENCH_INTERFACE);
}

/** And as dbus-daemon does: waking up a subscriber for each message costs it half its rate. */
export const dbusDaemonDialect: Dialect = { ...dbusDialect, pauseMs: 0.2 };
