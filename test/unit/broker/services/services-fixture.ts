/** Requests about services on a simulated kernel: tables and words, with no socket and no clock. */

import type { Area } from "../../../../src/broker/area.ts";
import type { Connection } from "../../../../src/broker/connection.ts";
import { FdGate } from "../../../../src/broker/fds/fd-gate.ts";
import { Background } from "../../../../src/broker/long-work/background.ts";
import { ownUidPolicy } from "../../../../src/broker/policy/decide.ts";
import { BusState } from "../../../../src/broker/routing/bus-state.ts";
import { type ControlSender, Introductions } from "../../../../src/broker/routing/introductions.ts";
import { Answers } from "../../../../src/broker/services/answers.ts";
import { Ownership } from "../../../../src/broker/services/ownership.ts";
import { ServiceRequests } from "../../../../src/broker/services/service-requests.ts";
import { ServiceTable } from "../../../../src/broker/services/service-table.ts";
import { ServiceWatch } from "../../../../src/broker/services/service-watch.ts";
import { PinnedBuffer } from "../../../../src/ffi/pinned-buffer.ts";
import type { ControlMap } from "../../../../src/protocol/control-body.ts";
import { PacketWriter } from "../../../../src/protocol/packet.ts";
import { ConnectionBench } from "../connection-fixture.ts";

/** The services of one broker that allows one user everything. */
export class ServicesBench {
  readonly connections = new ConnectionBench();
  readonly background = new Background();
  /** Frames as [connection, opcode, id], of those that have not ended. */
  readonly sent: [to: number, opcode: number, id: number][] = [];
  readonly state: BusState;
  readonly introductions: Introductions;
  readonly table: ServiceTable<Connection>;
  readonly ownership: Ownership;
  readonly requests: ServiceRequests;
  readonly #buffer = new PinnedBuffer(1024);
  readonly #writer = new PacketWriter(this.#buffer.bytes.buffer);

  constructor(uid: number) {
    const state = new BusState(ownUidPolicy(uid), () => {});
    const send: ControlSender = (to, { opcode, id }) => {
      if (to.state !== "DOOMED") this.sent.push([to.id, opcode, id]);
    };
    const onEvent = () => {};
    const introductions = new Introductions(send);
    const { background } = this;
    const presence = { isWanted: false, noteService: () => {} };
    const table = new ServiceTable<Connection>(state.topics);
    const watch = new ServiceWatch({ state, introductions, send, background, presence });
    const fdGate = new FdGate(false);
    const ownership = new Ownership({ table, watch, fdGate, background, send, onEvent });
    const answers = new Answers(send, onEvent);
    this.requests = new ServiceRequests({ state, table, watch, answers, fdGate, ownership });
    this.state = state;
    this.introductions = introductions;
    this.table = table;
    this.ownership = ownership;
  }

  /** Carries out one request of a client. */
  request(connection: Connection, opcode: number, body: ControlMap): void {
    this.requestOf(this.requests, connection, opcode, body);
  }

  /** The same, of an area beside those. */
  requestOf(area: Area, connection: Connection, opcode: number, body: ControlMap): void {
    this.#writer.reset();
    this.#writer.appendControl(opcode, 0, 1, body);
    const buffer = this.#buffer;
    const carryOut = area.read(connection, {
      opcode,
      flags: 0,
      id: 1,
      buffer,
      bytes: buffer.bytes,
      offset: 0,
      frameBytes: buffer.words[0] ?? 0,
      isRest: false,
      bundle: undefined,
    });
    carryOut();
  }

  /** The frames of one kind that were sent since the last call, which forgets all others too. */
  take(opcode: number): [to: number, opcode: number, id: number][] {
    return this.sent.splice(0).filter(([, sentOpcode]) => sentOpcode === opcode);
  }
}
