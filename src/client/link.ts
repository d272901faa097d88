/**
 * The connection under a bus, and the next one when it is lost. Knows what goes over the wire as
 * requests and packets, and nothing of what they mean.
 *
 *      ┌──────────── lost ────────────┐
 *      ▼                              │
 *   DISCONNECTED ── dial ──▶ RESTORING ── restored ──▶ CONNECTED ── lost ──▶ DISCONNECTED
 *
 * From each of them a bus can be CLOSED, for good: by the program, by a broker that would only
 * refuse again, for a reason that the program wants to end with, or after the last attempt.
 */

import { ClosedError, ProtocolError } from "../errors.ts";
import type { ControlMap } from "../protocol/control-body.ts";
import { FEATURE_PAUSE, FLAG_RESUME, OPCODE } from "../protocol/opcodes.ts";
import { type Clock, SYSTEM_CLOCK } from "./clock.ts";
import type { Connection, DialOptions, Self } from "./dial.ts";
import { DISCONNECTED_REQUEST_MS } from "./limits.ts";
import { Outbound } from "./outbound.ts";
import type { TransportEvents } from "./packet-socket.ts";
import { PendingRequests, type Waiter } from "./pending-requests.ts";
import { isFinal, type ReconnectPlan } from "./reconnection.ts";
import { Redialing } from "./redialing.ts";
import type { Transport } from "./transport.ts";

/** What a link tells its bus. */
export interface LinkHost {
  /** @throws {ProtocolError} the broker broke the protocol */
  onPacket(packet: Uint8Array): void;
  /** Whether the program asked for the end where a connection is lost for this reason. */
  wantsEnd(reason: Error): boolean;
  /** The connection is lost, and another one will be looked for. What belonged to it is void. */
  onLost(error: Error, plan: ReconnectPlan): void;
  /** There is a new one: asks it for all that the last one had. Rejects where that is lost, too. */
  restore(): Promise<void>;
  /** All is as it was. */
  onRestored(attempts: number): void;
  /** The end. @param reason undefined where the program wished it */
  onEnd(reason: Error | undefined): void;
  /** A message was refused by the kernel, after it had waited. */
  onRefused(error: Error): void;
}

/** What is chosen for one attempt. */
export type Attempt = Pick<DialOptions, "signal"> & { readonly timeoutMs?: number };

/** What a link is made of. */
export interface LinkOptions {
  readonly path: string;
  /** Connects once; see dial.ts. */
  readonly dial: (events: TransportEvents, attempt: Attempt) => Promise<Connection>;
  /** Undefined: a lost connection is the end. */
  readonly plan: ReconnectPlan | undefined;
  readonly clock?: Clock;
  readonly random?: () => number;
}

/**
 * "once": a request whose meaning goes with the connection. It is rejected when that is lost.
 * Otherwise a request waits for the next connection, and is asked there.
 */
export type Repeat = "once" | "until-answered";

type State = "disconnected" | "restoring" | "connected" | "closed";

interface ConnectionWaiter {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** See the head of this file. */
export class Link {
  readonly path: string;
  readonly plan: ReconnectPlan | undefined;
  readonly pending = new PendingRequests();
  readonly outbound: Outbound = new Outbound((error) => this.#host?.onRefused(error));
  readonly #dial: LinkOptions["dial"];
  /** Of all that waits for an answer over this link. */
  readonly clock: Clock;
  readonly #redialing: Redialing;
  #host: LinkHost | undefined;
  #state: State = "disconnected";
  #self: Self = { connection: 0, uid: 0, gid: 0, pid: 0 };
  /** In force on the present connection, or the last one. */
  #features = 0;
  #transport: Transport | undefined;
  /** Events of earlier connections are not heard any more. */
  #events: ConnectionEvents | undefined;
  /** Why the connection is ending, or the bus has ended, once that is known. */
  #reason: Error | undefined;
  #waiters: ConnectionWaiter[] = [];

  constructor({ path, dial, plan, clock = SYSTEM_CLOCK, random }: LinkOptions) {
    this.path = path;
    this.plan = plan;
    this.#dial = dial;
    this.clock = clock;
    this.#redialing = new Redialing({
      plan,
      clock,
      random,
      attempt: (signal) => this.#tryOnce(signal),
      // RESTORING still: it is not the connection that failed, so the next would fare no better.
      isHopeless: (error) => isFinal(error) || this.#state === "restoring",
      onHopeless: (error) => this.finish(error as Error),
      onExhausted: (error) => this.finish(this.#exhausted(error)),
    });
  }

  /** Connects for the first time. Throws as connect() does; then the link is of no more use. */
  async open(attempt: Attempt): Promise<void> {
    await this.#connect(attempt);
    this.#state = "connected";
    this.#redialing.noteConnected();
  }

  /** Who hears of it; to be called at once after open(). */
  attach(host: LinkHost): void {
    this.#host = host;
  }

  /** Who this client is on the present connection, or was on the last one. */
  get self(): Self {
    return this.#self;
  }

  get isConnected(): boolean {
    return this.#state === "connected";
  }

  /** Whether there is a broker to ask, be it that not all is restored yet. */
  get canAsk(): boolean {
    return this.#state === "connected" || this.#state === "restoring";
  }

  /** Whether anything may wait for the next connection. */
  get mayWait(): boolean {
    return !this.isClosed && this.plan?.whileDisconnected !== "refuse";
  }

  get isClosed(): boolean {
    return this.#state === "closed";
  }

  /** The broker said why it will hang up. */
  noteReason(error: Error): void {
    this.#reason = error;
  }

  /** What to tell who asks for something after the end. */
  closedError(): Error {
    const message = `The bus at ${this.path} is closed`;
    return this.#reason ?? new ClosedError("CLOSED_BY_USER", message);
  }

  /** What to tell who cannot wait for the next connection. */
  disconnectedError(): ClosedError {
    const message = `The broker at ${this.path} is gone, and has not come back yet`;
    return new ClosedError("CLOSED_DISCONNECTED", message);
  }

  /**
   * Sends a request.
   * @returns the body of its ACK
   * @throws whatever the broker answers; {ClosedError} CLOSED_DISCONNECTED where none came back in
   *   time; the reason of the end after it
   */
  async request(
    opcode: number,
    body: ControlMap | undefined,
    repeat: Repeat = "until-answered",
  ): Promise<Uint8Array> {
    return await this.ask(opcode, body, (answer) => answer, repeat);
  }

  /**
   * Sends a request, like request().
   * @param take called with the body of the ACK before anything that came behind it is looked at
   * @returns what take() returned
   */
  async ask<Answer>(
    opcode: number,
    body: ControlMap | undefined,
    take: (body: Uint8Array) => Answer,
    repeat: Repeat = "until-answered",
    flags = 0,
  ): Promise<Answer> {
    if (repeat === "once") return await this.#send(opcode, body, take, flags);
    for (;;) {
      await this.ready();
      const events = this.#events;
      try {
        return await this.#send(opcode, body, take, flags);
      } catch (error) {
        if (events === this.#events || this.isClosed) throw error;
      }
    }
  }

  /**
   * Sends a request that goes with the connection, for a waiter of its own.
   * @returns its id
   * @throws {ClosedError} CLOSED_DISCONNECTED; the reason of the end after it
   */
  post(opcode: number, body: ControlMap | undefined, waiter: Waiter, flags = 0): number {
    if (this.isClosed) throw this.closedError();
    if (!this.canAsk) throw this.disconnectedError();
    const id = this.pending.add(waiter);
    this.outbound.control(body === undefined ? { opcode, id, flags } : { opcode, id, flags, body });
    return id;
  }

  /** Resolves when there is a connection with all that belongs to it. Rejects as request() does. */
  async ready(): Promise<void> {
    while (!this.isConnected) await this.#connected();
  }

  /** Reads no more from the connection, or reads again; the next connection is read from. */
  setPaused(isPaused: boolean): void {
    this.#transport?.setPaused(isPaused);
  }

  /**
   * Has the broker hold publishers back, or go on. Does nothing where there is none to tell, or one
   * that does not know how: then only what may wait here is bounded.
   */
  tellPaused(isPaused: boolean): void {
    const flags = isPaused ? 0 : FLAG_RESUME;
    const knowsPause = (this.#features & FEATURE_PAUSE) !== 0;
    if (this.canAsk && knowsPause) this.outbound.control({ opcode: OPCODE.PAUSE, id: 0, flags });
  }

  /** Fetches the fds of the next lane record; they are the caller's. */
  takeLaneFds(count: number): number[] {
    return this.#transport?.takeLaneFds(count) ?? [];
  }

  /** The end of it all. @param reason undefined where the program wishes it */
  finish(reason: Error | undefined): void {
    if (this.isClosed) return;
    this.#state = "closed";
    this.#reason = reason;
    this.#events = undefined;
    this.#redialing.stop();
    this.#transport?.close();
    const error = this.closedError();
    this.pending.rejectAll(error);
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
    this.#host?.onEnd(reason);
  }

  /** For ConnectionEvents. */
  takePacket(events: ConnectionEvents, packet: Uint8Array): void {
    if (events !== this.#events) return;
    try {
      this.#host?.onPacket(packet);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.finish(error);
    }
  }

  /** For ConnectionEvents. */
  noteWritable(events: ConnectionEvents): void {
    if (events === this.#events) this.outbound.onWritable();
  }

  /** For ConnectionEvents. */
  noteClosed(events: ConnectionEvents, cause: Error | undefined): void {
    if (events !== this.#events) return;
    this.#events = undefined;
    const reason = this.#reason ?? this.#hungUp(cause);
    if (this.#state === "disconnected") return;
    const isEnd = isFinal(reason) || this.#host?.wantsEnd(reason) === true;
    if (this.plan === undefined || isEnd) this.finish(reason);
    else this.#lose(reason, this.plan);
  }

  #send<Answer>(
    opcode: number,
    body: ControlMap | undefined,
    take: (body: Uint8Array) => Answer,
    flags: number,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const onAck = (answer: Uint8Array) => {
        try {
          resolve(take(answer));
        } catch (error) {
          reject(error);
          // The broker broke the protocol: whoever takes the packet apart must know as well.
          throw error;
        }
      };
      this.post(opcode, body, { resolve: onAck, reject }, flags);
    });
  }

  /** Resolves when there is a connection again. */
  #connected(): Promise<void> {
    if (this.isClosed) return Promise.reject(this.closedError());
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const giveUp = () => {
      this.#waiters = this.#waiters.filter((waiter) => waiter.reject !== reject);
      reject(this.disconnectedError());
    };
    const stopTimer = this.clock.startTimer(giveUp, DISCONNECTED_REQUEST_MS);
    this.#waiters.push({ resolve, reject });
    return promise.finally(stopTimer);
  }

  #lose(reason: Error, plan: ReconnectPlan): void {
    const wasConnected = this.isConnected;
    this.#state = "disconnected";
    this.#transport = undefined;
    this.#reason = undefined;
    this.pending.rejectAll(reason);
    this.#host?.onLost(reason, plan);
    // While RESTORING the loop runs already, and sees that it has to go on.
    if (wasConnected) void this.#redialing.run(reason);
  }

  /** @returns whether all is as it was; false where the connection was lost again meanwhile */
  async #tryOnce(signal: AbortSignal): Promise<boolean> {
    await this.#connect({ signal });
    this.#state = "restoring";
    await this.#host?.restore();
    // Anything may have happened while it was waited for.
    if ((this.#state as State) !== "restoring") return false;
    this.#state = "connected";
    this.#redialing.noteConnected();
    const waiters = this.#waiters.splice(0);
    this.#host?.onRestored(this.#redialing.attempts);
    for (const waiter of waiters) waiter.resolve();
    return true;
  }

  async #connect(attempt: Attempt): Promise<void> {
    const events = new ConnectionEvents(this);
    this.#events = events;
    this.#reason = undefined;
    const { self, features, transport } = await this.#dial(events, attempt);
    if (this.#events !== events) {
      transport.close();
      throw this.isClosed ? this.closedError() : (this.#reason ?? this.#hungUp(undefined));
    }
    this.#self = self;
    this.#features = features;
    this.#transport = transport;
    this.outbound.attach(transport);
  }

  #exhausted(cause: unknown): Error {
    const { attempts } = this.#redialing;
    const message = `The broker at ${this.path} is gone; gave up after attempt ${attempts}`;
    return new ClosedError("CLOSED_DISCONNECTED", message, { cause });
  }

  #hungUp(cause: Error | undefined): ClosedError {
    const message = `The broker at ${this.path} closed the connection`;
    return new ClosedError("CLOSED_BY_PEER", message, { cause });
  }
}

/** What one connection says; a link knows by it whether that is still the present one. */
class ConnectionEvents implements TransportEvents {
  readonly #link: Link;

  constructor(link: Link) {
    this.#link = link;
  }

  onPacket(packet: Uint8Array): void {
    this.#link.takePacket(this, packet);
  }

  onWritable(): void {
    this.#link.noteWritable(this);
  }

  onClose(error: Error | undefined): void {
    this.#link.noteClosed(this, error);
  }
}
