/** A bus without a broker: its frames are looked at, and the test answers them. */

import { Bus } from "../../../src/client/bus.ts";
import type { Clock } from "../../../src/client/clock.ts";
import { RECONNECT_MS_FIRST } from "../../../src/client/limits.ts";
import { Link } from "../../../src/client/link.ts";
import type { TransportEvents } from "../../../src/client/packet-socket.ts";
import type { ReconnectPlan } from "../../../src/client/reconnection.ts";
import { type ControlMap, decodeControlBody } from "../../../src/protocol/control-body.ts";
import { ENCODING, FEATURE_PAUSE, OPCODE } from "../../../src/protocol/opcodes.ts";
import { PacketWriter } from "../../../src/protocol/packet.ts";
import { type SentFrame, SimulatedTransport } from "./simulated-transport.ts";

/** Connection id of the other side, introduced by introduce(). */
export const PEER = 9;

/** A clock that stands still until the test moves it. */
export class FakeClock implements Clock {
  #now = 0;
  readonly #timers = new Set<{ at: number; callback: () => void }>();
  /** Timers that were ever started. */
  started = 0;

  now(): number {
    return this.#now;
  }

  startTimer(callback: () => void, ms: number): () => void {
    const timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    this.started += 1;
    return () => this.#timers.delete(timer);
  }

  /** Timers that run. */
  get running(): number {
    return this.#timers.size;
  }

  /** Lets so many milliseconds pass, with every timer at its time. */
  pass(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      const [first] = due;
      if (first === undefined) break;
      this.#timers.delete(first);
      this.#now = Math.max(this.#now, first.at);
      first.callback();
    }
    this.#now = end;
  }
}

/** One connection. */
interface Connected {
  readonly transport: TransportWithLane;
  readonly events: TransportEvents;
}

/** A transport that also has fds on its lane, as the test puts them there. */
class TransportWithLane extends SimulatedTransport {
  readonly lane: number[][] = [];

  override takeLaneFds(): number[] {
    return [...(this.lane.shift() ?? [])];
  }
}

/** See the head of this file. */
export class SimulatedBus {
  readonly clock = new FakeClock();
  /** What the next connection's broker knows. */
  features = FEATURE_PAUSE;
  readonly #link: Link;
  #connection: Connected | undefined;
  #bus: Bus | undefined;
  #seen = 0;

  private constructor(plan: ReconnectPlan | undefined) {
    const self = { connection: 1, uid: 1, gid: 1, pid: 1 };
    const dial = async (events: TransportEvents) => {
      this.#connection = { transport: new TransportWithLane(), events };
      this.#seen = 0;
      return { self, features: this.features, transport: this.#connection.transport };
    };
    this.#link = new Link({ path: "/bus", dial, plan, clock: this.clock, random: () => 0.5 });
  }

  /** Connects. @param plan undefined: a lost connection is the end */
  static async open(plan?: ReconnectPlan): Promise<SimulatedBus> {
    const simulated = new SimulatedBus(plan);
    await simulated.#link.open({});
    simulated.#bus = new Bus(simulated.#link);
    simulated.introduce();
    return simulated;
  }

  get bus(): Bus {
    if (this.#bus === undefined) throw new Error("open() makes the bus");
    return this.#bus;
  }

  /** The present connection, or the last one. */
  get #connected(): Connected {
    if (this.#connection === undefined) throw new Error("open() connects");
    return this.#connection;
  }

  get transport(): TransportWithLane {
    return this.#connected.transport;
  }

  /** The socket takes packets again. */
  becomeWritable(): void {
    this.#connected.events.onWritable();
  }

  /** The broker hangs up. */
  async lose(): Promise<void> {
    this.#connected.events.onClose(undefined);
    await Bun.sleep(0);
  }

  /** And another one is there, which the test has to answer. PEER is on it, too. */
  async comeBack(afterMs = RECONNECT_MS_FIRST): Promise<void> {
    this.clock.pass(afterMs);
    await Bun.sleep(0);
    this.introduce();
  }

  /** Frames that were sent since the last look, once the bus has flushed. */
  async sent(): Promise<SentFrame[]> {
    await Bun.sleep(0);
    const frames = this.transport.frames();
    const fresh = frames.slice(this.#seen);
    this.#seen = frames.length;
    return fresh;
  }

  /** The one frame that was sent since the last look. */
  async sentOne(opcode: number): Promise<SentFrame> {
    const frames = await this.sent();
    const [frame] = frames;
    if (frames.length !== 1 || frame?.opcode !== opcode) {
      throw new Error(`Sent were opcodes ${frames.map((one) => one.opcode)}, wanted is ${opcode}`);
    }
    return frame;
  }

  /** One packet from the broker. */
  receive(build: (writer: PacketWriter) => void): void {
    const writer = new PacketWriter();
    build(writer);
    this.#connected.events.onPacket(writer.bytes.slice(0, writer.packetBytes));
  }

  /** One control frame from the broker. */
  control(opcode: number, id: number, map?: ControlMap, flags = 0): void {
    this.receive((writer) => writer.appendControl(opcode, flags, id, map));
  }

  /** Says who PEER is. */
  introduce(): void {
    this.control(OPCODE.SENDER, PEER, { uid: 7, gid: 8, pid: 9, groups: [] });
  }

  /** A reply to a call of the bus. */
  reply(call: number, text: string, fields: { flags?: number; fdCount?: number } = {}): void {
    const { flags = 0, fdCount = 0 } = fields;
    const body = new TextEncoder().encode(text);
    this.receive((writer) =>
      writer.append(OPCODE.REPLY, ENCODING.TEXT | flags, fdCount, call, PEER, body),
    );
  }

  /** A request to a service of the bus. */
  request(
    service: number,
    call: number,
    text: string,
    fields: { flags?: number; fdCount?: number; timeoutMs?: number; origin?: number } = {},
  ): void {
    const { flags = 0, fdCount = 0, timeoutMs = 0, origin = PEER } = fields;
    const body = prefixed(call, timeoutMs, new TextEncoder().encode(text));
    this.receive((writer) =>
      writer.append(OPCODE.REQUEST, ENCODING.TEXT | flags, fdCount, service, origin, body),
    );
  }
}

/** A body behind its prefix. */
export function prefixed(first: number, second: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8 + body.byteLength);
  const prefix = new DataView(bytes.buffer);
  prefix.setUint32(0, first, true);
  prefix.setUint32(4, second, true);
  bytes.set(body, 8);
  return bytes;
}

/** The prefix of a body, and what is behind it as text. */
export function splitPrefix(body: Uint8Array): [first: number, second: number, text: string] {
  const view = new DataView(body.buffer, body.byteOffset);
  const text = new TextDecoder().decode(body.subarray(8));
  return [view.getUint32(0, true), view.getUint32(4, true), text];
}

/** The map in a control body. */
export function mapOf({ body }: SentFrame): ControlMap {
  return decodeControlBody(body, 0, body.byteLength);
}
