/**
 * What one connection has to do with services: those that it may call, serves, waits for or
 * watches, its calls without an answer, and the requests that it has not answered. Data and small
 * invariants only.
 */

import { STREAM_CREDIT_START } from "../../protocol/limits.ts";
import type { Connection } from "../connection.ts";
import type { Decision } from "../policy/decide.ts";
import { zeroCallFigures } from "./call-figures.ts";
import type { Member } from "./least-busy.ts";
import type { RequestRoom } from "./request-room.ts";
import type { Service } from "./service-table.ts";

/** The largest number that the wire carries. */
const CALL_MAX = 0xffff_ffff;

/** A service that a connection has open for calling, with the rights that the policy gives it. */
export interface OpenService {
  readonly service: Service<Connection>;
  /** Whether it may call, and by which rule. Not allowed once a reload took the right away. */
  call: Decision;
  /** May requests carry fds, and by which rule. */
  sendFds: Decision;
  /** Bytes of the largest body of a request. */
  messageBytesMax: number;
}

/** A request on its way, until its last answer. The one object that a call costs the broker. */
export class PendingCall {
  readonly service: Service<Connection>;
  readonly caller: Connection;
  /** The caller's number for it. */
  readonly call: number;
  readonly member: Member<Connection>;
  /** The number that the member knows it by. */
  readonly request: number;
  /** The caller takes a reply in parts. */
  readonly isStream: boolean;
  /** Parts that may still come. */
  credit = STREAM_CREDIT_START;

  constructor(
    service: Service<Connection>,
    caller: Connection,
    call: number,
    member: Member<Connection>,
    request: number,
    isStream: boolean,
  ) {
    this.service = service;
    this.caller = caller;
    this.call = call;
    this.member = member;
    this.request = request;
    this.isStream = isStream;
  }

  get responder(): Connection {
    return this.member.client;
  }
}

/** The services of one connection. */
export class ConnectionServices {
  /** By service id. */
  readonly open = new Map<number, OpenService>();
  /** Those it serves or waits for, by service id. */
  readonly served = new Map<number, Service<Connection>>();
  /** By service id. */
  readonly watched = new Map<number, Service<Connection>>();
  /** Its own calls, by its numbers. */
  readonly calls = new Map<number, PendingCall>();
  /** Requests that it has to answer, by the broker's numbers. */
  readonly requests = new Map<number, PendingCall>();
  /** Whose requests wait in its queue; made when that fills up, and dropped when it is low again. */
  requestRoom: RequestRoom | undefined;
  /** Since it asked for a service first. */
  readonly figures = zeroCallFigures();
  /** Replies of this connection to calls that were over. */
  lateReplies = 0;
  #lastRequest: number;
  #hasWrapped = false;

  /** @param lastRequest the number given last; 0 for none */
  constructor(lastRequest = 0) {
    this.#lastRequest = lastRequest;
  }

  /** A number for the next request to this connection, higher than all before until all are used. */
  nextRequest(): number {
    do {
      if (this.#lastRequest === CALL_MAX) this.#hasWrapped = true;
      this.#lastRequest = this.#lastRequest === CALL_MAX ? 1 : this.#lastRequest + 1;
    } while (this.requests.has(this.#lastRequest));
    return this.#lastRequest;
  }

  /** Whether a request to this connection ever had that number. */
  wasRequested(request: number): boolean {
    return request > 0 && (this.#hasWrapped || request <= this.#lastRequest);
  }
}
