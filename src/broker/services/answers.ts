/** Answers to requests about services: granted, or refused with the words and the audit event. */

import type { RejectedErrorCode } from "../../errors.ts";
import type { ControlMap } from "../../protocol/control-body.ts";
import { errorBody, revokedBody } from "../../protocol/control-messages.ts";
import { OPCODE } from "../../protocol/opcodes.ts";
import { STATUS, type StatusName } from "../../protocol/status-codes.ts";
import { refusalOfName } from "../../protocol/topics.ts";
import type { Connection } from "../connection.ts";
import type { BrokerEventListener } from "../events.ts";
import type { Action } from "../policy/rules.ts";
import type { LimitFigures } from "../quotas/excess.ts";
import { refusalMessage } from "../requests/refusal.ts";
import type { ControlSender } from "../routing/introductions.ts";

/** A code of a limit, which an ERROR carries with its figures. */
export type LimitStatus = Extract<StatusName, `LIMIT_${string}`>;

/** Any other code that an ERROR can carry back to whoever asked. */
export type RefusalCode = RejectedErrorCode | "CLOSED_BY_SERVICE";

/** Why a request cannot be carried out: a code, and the end of a sentence. */
export type Failure =
  | { readonly code: RefusalCode; readonly why: string; readonly figures?: undefined }
  | { readonly code: LimitStatus; readonly why: string; readonly figures: LimitFigures };

/** Sends answers. */
export class Answers {
  readonly #send: ControlSender;
  readonly #onEvent: BrokerEventListener;

  constructor(send: ControlSender, onEvent: BrokerEventListener) {
    this.#send = send;
    this.#onEvent = onEvent;
  }

  /** ACK. */
  grant(connection: Connection, id: number, body?: ControlMap): void {
    if (body === undefined) this.#send(connection, { opcode: OPCODE.ACK, id });
    else this.#send(connection, { opcode: OPCODE.ACK, id, body });
  }

  /** Whether a name can be a service's; where not, the client has been told. */
  acceptsName(connection: Connection, id: number, name: string, verb: string): boolean {
    const message = refusalOfName(name, `Cannot ${verb}`);
    if (message === undefined) return true;
    this.refuse(connection, id, "REJECTED_TOPIC_NAME", message);
    return false;
  }

  /** ERROR, not fatal. */
  refuse(
    connection: Connection,
    id: number,
    code: RefusalCode,
    message: string,
    fields: { topic?: string; rule?: string | undefined } = {},
  ): void {
    const body = errorBody({ status: STATUS[code as StatusName], message, ...fields });
    this.#send(connection, { opcode: OPCODE.ERROR, id, body });
  }

  /** The same for a limit, and the event for the log. */
  refuseForLimit(
    connection: Connection,
    requestId: number,
    code: LimitStatus,
    about: LimitFigures & { readonly topic: string; readonly message: string },
  ): void {
    const { topic, message, limit, actual } = about;
    const body = errorBody({ status: STATUS[code], message, topic, limit, actual });
    this.#send(connection, { opcode: OPCODE.ERROR, id: requestId, body });
    const { id, identity } = connection;
    const event = { connection: id, identity, code, topic, limit, actual, message };
    this.#onEvent({ type: "limited", ...event });
  }

  /**
   * Either of them.
   * @param cannot the start of the sentence, such as `Cannot call "a.b"`
   */
  fail(
    connection: Connection,
    id: number,
    { topic, cannot }: { readonly topic: string; readonly cannot: string },
    { code, why, figures }: Failure,
  ): void {
    const message = `${cannot}: ${why}`;
    if (figures === undefined) this.refuse(connection, id, code, message, { topic });
    else {
      const { limit, actual } = figures;
      this.refuseForLimit(connection, id, code, { topic, message, limit, actual });
    }
  }

  /** ERROR REJECTED_BY_POLICY, for what was told to the log before. */
  refuseByPolicy(
    connection: Connection,
    id: number,
    action: Action,
    topic: string,
    rule: string | undefined,
  ): void {
    const message = refusalMessage(connection.identity, action, topic, rule);
    this.refuse(connection, id, "REJECTED_BY_POLICY", message, { topic, rule });
  }

  /** The same, and the event for the log. */
  deny(
    connection: Connection,
    id: number,
    action: Action,
    topic: string,
    rule: string | undefined,
  ): void {
    this.refuseByPolicy(connection, id, action, topic, rule);
    const { identity } = connection;
    this.#onEvent({ type: "denied", connection: connection.id, identity, action, topic, rule });
  }

  /** REVOKED: a right on a service is gone. */
  revoke(
    connection: Connection,
    id: number,
    action: Action,
    topic: string,
    rule: string | undefined,
  ): void {
    const { identity } = connection;
    const message = refusalMessage(identity, action, topic, rule);
    const body = revokedBody({ message, action, topic, rule });
    this.#send(connection, { opcode: OPCODE.REVOKED, id, body });
    this.#onEvent({ type: "revoked", connection: connection.id, identity, action, topic, rule });
  }
}
