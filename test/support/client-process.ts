/**
 * A client program in a process of its own, driven over Bun's IPC: it may run as another uid, be
 * stopped, or be killed. Uses the library as any program would. Loaded first, then privileges are
 * dropped, since other uids may be unable to read the checkout.
 */

import { readdirSync } from "node:fs";
import type { Bus } from "../../src/client/bus.ts";
import type { FlushOptions } from "../../src/client/bus-options.ts";
import type { CallOptions } from "../../src/client/call-options.ts";
import type { Reply } from "../../src/client/calls.ts";
import type { Channel } from "../../src/client/channel.ts";
import { type ConnectOptions, connect } from "../../src/client/connect.ts";
import type { Message } from "../../src/client/message.ts";
import type { ServeOptions, Service } from "../../src/client/service.ts";
import { reply, type ServiceRequest } from "../../src/client/service-request.ts";
import type { Subscription } from "../../src/client/subscription.ts";
import type { SubscribeOptions } from "../../src/client/subscription-options.ts";
import { LimitError } from "../../src/errors.ts";
import { dropPrivileges, type TargetCredentials } from "../../src/ffi/process-credentials.ts";
import type { OverflowPolicy } from "../../src/protocol/words.ts";
import { type Books, MessageBooks } from "./message-books.ts";
import { readText, TestFiles } from "./test-files.ts";

/** A message as it crosses the IPC channel. */
export interface ReportedMessage {
  readonly topic: string;
  readonly data: unknown;
  readonly sender: { readonly uid: number; readonly gid: number; readonly pid: number };
  readonly fdTexts: readonly string[];
  readonly fdsWithheld: boolean;
}

/** What an error has to say, as it crosses the IPC channel. */
export interface ReportedError {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  readonly rule?: string;
  readonly topic?: string;
}

let bus: Bus | undefined;
let subscription: Subscription | undefined;

const collected: number[] = [];

async function collect(messages: Subscription, pauseMs: number): Promise<void> {
  for await (const message of messages) {
    collected.push(Number(message.data));
    if (pauseMs > 0) await Bun.sleep(pauseMs);
  }
}

const books = new MessageBooks();

let service: Service | undefined;

/** What the handlers of this process have seen. */
export interface Handled {
  started: number;
  /** Codes of why requests were aborted. */
  readonly aborted: string[];
  /** Parts that a generator made. */
  parts: number;
  /** How often its `finally` has run. */
  stops: number;
}

const handled: Handled = { started: 0, aborted: [], parts: 0, stops: 0 };

/** A reply as it crosses the IPC channel. */
export interface ReportedReply {
  readonly data: unknown;
  readonly byteLength: number;
  readonly sender: { readonly uid: number; readonly pid: number };
  readonly fdTexts: readonly string[];
}

async function reportReply(reply: Reply): Promise<ReportedReply> {
  const { byteLength, sender } = reply;
  const data = byteLength > 1_000 ? undefined : reply.data;
  const fdTexts = await Promise.all(Array.from(reply.fds, (file) => file.text()));
  return { data, byteLength, sender: { uid: sender.uid, pid: sender.pid }, fdTexts };
}

/** Calls that startCalls() makes before it waits for the broker: the library keeps only so much. */
const CALLS_AT_ONCE = 32;

let callEnds: Promise<string>[] = [];

/** @param byteLength of the answer that is right */
async function endOfCall(call: Promise<Reply>, byteLength: number): Promise<string> {
  try {
    using answer = await call;
    return answer.byteLength === byteLength ? "answered" : `${answer.byteLength} bytes`;
  } catch (error) {
    return codeOf(error);
  }
}

function codeOf(error: unknown): string {
  return (error as { readonly code?: string }).code ?? String(error);
}

let gate = Promise.withResolvers<void>();

const HANDLERS = {
  echo: (request: ServiceRequest) => {
    handled.started += 1;
    return reply(request.bytes, { fds: [...request.fds] });
  },
  pid: () => process.pid,
  /** Never answers. */
  hang: ({ signal }: ServiceRequest) => {
    handled.started += 1;
    signal.addEventListener("abort", () => handled.aborted.push(codeOf(signal.reason)));
    return new Promise(() => {});
  },
  /** Answers once openGate() is called. */
  gate: async (request: ServiceRequest) => {
    handled.started += 1;
    const { signal } = request;
    signal.addEventListener("abort", () => handled.aborted.push(codeOf(signal.reason)));
    await gate.promise;
    return request.data;
  },
  fail: () => {
    throw Object.assign(new Error("disk"), { code: "E_FULL" });
  },
  /** Never ends by itself. */
  parts: async function* () {
    try {
      for (;;) {
        handled.parts += 1;
        yield handled.parts;
      }
    } finally {
      handled.stops += 1;
    }
  },
};

/** A handler by its name. */
export type HandlerKind = keyof typeof HANDLERS;

function theBus(): Bus {
  if (bus === undefined) throw new Error("connect first");
  return bus;
}

let channel: Promise<Channel> | undefined;

function theChannel(): Promise<Channel> {
  if (channel === undefined) throw new Error("there is no channel");
  return channel;
}

/** What a test can ask for, by name. Arguments and results must be plain data. */
const COMMANDS = {
  become(target: TargetCredentials): void {
    dropPrivileges(target);
  },
  async connect(path: string, options: ConnectOptions = {}): Promise<unknown> {
    bus = await connect({ path, ...options });
    return bus.self;
  },
  async subscribe(pattern: string, options: SubscribeOptions = {}): Promise<void> {
    subscription = await theBus().subscribe(pattern, options);
  },
  /** Subscribes, and keeps books on the messages that numbering made. */
  async keepBooks(pattern: string, overflow: OverflowPolicy): Promise<void> {
    subscription = await theBus().subscribe(pattern, {
      overflow,
      onMessage: (message) => books.noteMessage(message),
      onGap: (gap) => books.noteGap(gap),
    });
  },
  /** The books, with all that the broker has for it now. */
  async books(): Promise<Books> {
    await theBus().flush();
    const { received, lost, flaw } = books;
    return { received, lost, flaw };
  },
  /** From now on messages are taken as they come; their data must be numbers. */
  collect(pauseMs = 0): void {
    void collect(subscription as Subscription, pauseMs);
  },
  collected(): number[] {
    return collected;
  },
  async reasonOfEnd(): Promise<string | undefined> {
    const reason = await theBus().closed();
    return reason !== undefined && "code" in reason ? String(reason.code) : undefined;
  },
  async figuresOfEnd(): Promise<object> {
    const reason = await theBus().closed();
    const { limit, actual } = reason instanceof LimitError ? reason : {};
    return { limit, actual };
  },
  publish(topic: string, data: unknown): void {
    theBus().publish(topic, data);
  },
  publishFile(topic: string, text: string): void {
    using files = new TestFiles([text]);
    theBus().publish(topic, text, { fds: files.fds });
  },
  retain(topic: string, data: unknown): void {
    theBus().publish(topic, data, { retain: true });
  },
  retainFile(topic: string, text: string): void {
    using files = new TestFiles([text]);
    theBus().publish(topic, text, { fds: files.fds, retain: true });
  },
  async flush(options: FlushOptions = {}): Promise<unknown> {
    return await theBus().flush(options);
  },
  async messages(count: number): Promise<ReportedMessage[]> {
    const messages: ReportedMessage[] = [];
    while (messages.length < count) {
      const { value: message } = await (subscription as Subscription).next();
      const { topic, data, sender, fdsWithheld } = message;
      const fdTexts = Array.from({ length: message.fds.length }, (_, index) => {
        using fd = message.fds.take(index);
        return readText(fd.fd);
      });
      const { uid, gid, pid } = sender;
      messages.push({ topic, data, sender: { uid, gid, pid }, fdTexts, fdsWithheld });
    }
    return messages;
  },
  async bodies(count: number): Promise<{ byteLength: number; digest: string }[]> {
    const bodies: { byteLength: number; digest: string }[] = [];
    while (bodies.length < count) {
      using message = (await (subscription as Subscription).next()).value;
      const digest = new Bun.CryptoHasher("sha256").update(message.bytes).digest("hex");
      bodies.push({ byteLength: message.byteLength, digest });
    }
    return bodies;
  },
  counts(): { queued: number; lost: number } {
    const { queued, lost } = subscription as Subscription;
    return { queued, lost };
  },
  /** How often the connection was lost while the subscription stood. */
  disconnects(): number {
    return (subscription as Subscription).disconnects;
  },
  async serve(topic: string, kind: HandlerKind, options: ServeOptions = {}): Promise<boolean> {
    service = await theBus().serve(topic, HANDLERS[kind], options);
    return service.isOwner;
  },
  /** Serves, and keeps the first private channel that is opened to it. */
  async serveChannels(topic: string): Promise<void> {
    const taken = Promise.withResolvers<Channel>();
    channel = taken.promise;
    service = await theBus().serve(topic, HANDLERS.pid, { onChannel: taken.resolve });
  },
  async openChannel(topic: string): Promise<void> {
    channel = theBus().openChannel(topic);
    await channel;
  },
  async channelPeer(): Promise<{ uid: number; pid: number }> {
    const { uid, pid } = (await theChannel()).peer;
    return { uid, pid };
  },
  /** Sends numbers, each as a large body where so many bytes are asked for. */
  async channelSend(count: number, byteLength = 4): Promise<void> {
    const open = await theChannel();
    for (let number = 0; number < count; number += 1) {
      const body = new Uint8Array(byteLength);
      new DataView(body.buffer).setUint32(0, number, true);
      if (!open.send(body)) await open.drained();
    }
  },
  /** The next so many numbers. */
  async channelNumbers(count: number): Promise<number[]> {
    const numbers: number[] = [];
    while (numbers.length < count) {
      const { value } = await (await theChannel()).next();
      using message = value as Message;
      const { bytes } = message;
      numbers.push(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true));
    }
    return numbers;
  },
  /** How it ended: without a code where one side closed it. */
  async channelEnd(): Promise<string | undefined> {
    const error = await (await theChannel()).closed();
    return error === undefined ? undefined : codeOf(error);
  },
  async stopServing(): Promise<void> {
    await service?.close();
  },
  /** What ended the service. */
  async serviceEnd(): Promise<string | undefined> {
    const error = await service?.closed();
    return error === undefined ? undefined : codeOf(error);
  },
  /** The requests that wait at "gate" are answered; those that follow wait again, unless for good. */
  openGate(isForGood = false): void {
    gate.resolve();
    if (!isForGood) gate = Promise.withResolvers();
  },
  /** The requests that follow wait at "gate", and handled() counts them anew. */
  closeGate(): void {
    gate = Promise.withResolvers();
    handled.started = 0;
    handled.aborted.length = 0;
  },
  handled(): Handled {
    return handled;
  },
  async call(topic: string, data: unknown, options: CallOptions = {}): Promise<ReportedReply> {
    using reply = await theBus().call(topic, data, options);
    return await reportReply(reply);
  },
  /**
   * Makes calls with so many bytes each, and waits for no answer. Where they are many the broker has got
   * all of them.
   */
  async startCalls(topic: string, count: number, byteLength: number): Promise<void> {
    callEnds = [];
    for (let made = 1; made <= count; made += 1) {
      callEnds.push(endOfCall(theBus().call(topic, "x".repeat(byteLength)), byteLength));
      if (made % CALLS_AT_ONCE === 0) await theBus().flush();
    }
  },
  /** What all of these came to, each end once: "answered", "found", or a code. */
  async endsOfCalls(): Promise<string[]> {
    return [...new Set(await Promise.all(callEnds))].sort();
  },
  /** Begins to wait until somebody serves it: "found" among the ends of calls. */
  startWaiting(topic: string): void {
    callEnds = [
      theBus()
        .waitFor(topic)
        .then(() => "found", codeOf),
    ];
  },
  async callWithFile(topic: string, text: string): Promise<ReportedReply> {
    using files = new TestFiles([text]);
    using reply = await theBus().call(topic, text, { fds: files.fds });
    return await reportReply(reply);
  },
  /** Reads so many parts, and leaves the loop. */
  async stream(topic: string, count: number): Promise<unknown[]> {
    const parts: unknown[] = [];
    for await (const part of theBus().callStream(topic, "x")) {
      parts.push(part.data);
      if (parts.length >= count) break;
    }
    return parts;
  },
  /** @param withoutLost those that only the garbage collector closes are closed first */
  countFds(withoutLost = false): number {
    if (withoutLost) Bun.gc(true);
    return readdirSync("/proc/self/fd").length;
  },
};

/** The commands that ClientProcess.call() knows, with their arguments and results. */
export type ClientCommands = typeof COMMANDS;

/** One call, as it crosses the IPC channel. */
export interface ClientCall {
  readonly id: number;
  readonly command: keyof ClientCommands;
  readonly args: readonly unknown[];
}

/** The answer to one call. */
export interface ClientAnswer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: ReportedError;
}

function describeError(error: Error & Partial<ReportedError>): ReportedError {
  const { name, message, code, rule, topic } = error;
  return {
    name,
    message,
    ...(code === undefined ? {} : { code }),
    ...(rule === undefined ? {} : { rule }),
    ...(topic === undefined ? {} : { topic }),
  };
}

async function answer({ id, command, args }: ClientCall): Promise<ClientAnswer> {
  try {
    const run = COMMANDS[command] as (...args: readonly unknown[]) => unknown;
    return { id, result: await run(...args) };
  } catch (error) {
    return { id, error: describeError(error as Error) };
  }
}

process.on("message", async (call: ClientCall) => {
  process.send?.(await answer(call));
});
// The test is gone: nobody would end this process.
process.on("disconnect", () => process.exit(1));
process.send?.({ id: 0 } satisfies ClientAnswer);
