/**
 * What only an administrator may ask of a running broker: root, and the user the broker runs as.
 * Answers may take a while; they come when the work is done, and other requests do not wait.
 */

import { ConfigError } from "../../errors.ts";
import {
  type Explain,
  explainAckBody,
  reloadPolicyAckBody,
} from "../../protocol/administration-messages.ts";
import { errorBody } from "../../protocol/control-messages.ts";
import { OPCODE } from "../../protocol/opcodes.ts";
import { STATUS, type StatusName } from "../../protocol/status-codes.ts";
import { checkPattern, checkTopicName } from "../../protocol/topics.ts";
import type { Connection } from "../connection.ts";
import type { PeerIdentity } from "../identity/identity.ts";
import { ACTIONS, type Action } from "../policy/rules.ts";
import type { BusState } from "../routing/bus-state.ts";
import type { ControlSender } from "../routing/introductions.ts";

const ROOT_UID = 0;
/** (uid_t) -1: nobody's id. */
const NO_ID = 0xffff_ffff;
/** What is not said of somebody is taken as absent, not as unknown: in no unit, … */
const ROOT_CGROUP = "/";
/** … and running what no path or pattern of a rule can match. */
const NO_EXECUTABLE = "(not given)";

/** What administration needs of the broker. */
export interface AdministrationHost {
  /**
   * Reads the policy anew and puts it in force.
   * @returns how many rules it has
   * @throws {ConfigError} CONFIG_POLICY: the old one stays in force
   */
  reloadPolicy(): Promise<number>;
}

/** Carries out an administrator's requests. */
export class Administration {
  readonly #state: BusState;
  readonly #host: AdministrationHost;
  readonly #ownUid: number;
  readonly #send: ControlSender;

  /** @param ownUid the broker's effective uid */
  constructor(state: BusState, host: AdministrationHost, ownUid: number, send: ControlSender) {
    this.#state = state;
    this.#host = host;
    this.#ownUid = ownUid;
    this.#send = send;
  }

  /** RELOAD_POLICY: answers with the number of rules, or with what is wrong with the files. */
  reloadPolicy(connection: Connection, requestId: number): void {
    if (!this.isAdministrator(connection.identity)) {
      return this.#refuse(connection, requestId, "reload the policy");
    }
    this.#host.reloadPolicy().then(
      (rules) => {
        const body = reloadPolicyAckBody({ rules });
        this.#send(connection, { opcode: OPCODE.ACK, id: requestId, body });
      },
      (error: unknown) => {
        if (!(error instanceof ConfigError)) throw error;
        const body = errorBody({ status: STATUS.CONFIG_POLICY, message: error.message });
        this.#send(connection, { opcode: OPCODE.ERROR, id: requestId, body });
      },
    );
  }

  /** EXPLAIN: answers what the policy says, about the client itself or for an administrator. */
  explain(connection: Connection, requestId: number, question: Explain): void {
    const { action, topic } = question;
    // Looking for the nearest rule takes its time, and shows whom other rules are about.
    const nearest = this.isAdministrator(connection.identity);
    if (question.uid !== undefined && !nearest) {
      return this.#refuse(connection, requestId, "ask about others");
    }
    if (!isAction(action)) {
      const message = `Cannot explain: there is no right of this name, only ${ACTIONS.join(", ")}`;
      return this.#reject(connection, requestId, "REJECTED_ACTION", message);
    }
    const isPattern = action === "subscribe";
    const flaw = isPattern ? checkPattern(topic) : checkTopicName(topic);
    if (flaw !== undefined) {
      const code = isPattern ? "REJECTED_PATTERN" : "REJECTED_TOPIC_NAME";
      const message = `Cannot explain: the topic is malformed, ${flaw}`;
      return this.#reject(connection, requestId, code, message);
    }
    const identity = question.uid === undefined ? connection.identity : identityOf(question);
    const explanation = JSON.stringify(
      this.#state.explain(identity, { action, topic }, { nearest }),
    );
    const body = explainAckBody({ explanation });
    this.#send(connection, { opcode: OPCODE.ACK, id: requestId, body });
  }

  /** Whether somebody is root or the broker's own user. */
  isAdministrator({ uid, unmapped }: PeerIdentity): boolean {
    return unmapped !== true && (uid === ROOT_UID || uid === this.#ownUid);
  }

  #refuse(connection: Connection, requestId: number, what: string): void {
    const { uid } = connection.identity;
    const message = `Cannot ${what} as uid ${uid}: only root and uid ${this.#ownUid} may`;
    this.#reject(connection, requestId, "REJECTED_NOT_ADMINISTRATOR", message);
  }

  #reject(connection: Connection, requestId: number, code: StatusName, message: string): void {
    const body = errorBody({ status: STATUS[code], message });
    this.#send(connection, { opcode: OPCODE.ERROR, id: requestId, body });
  }
}

function isAction(name: string): name is Action {
  return (ACTIONS as readonly string[]).includes(name);
}

/** Whom an administrator asks about. Only numbers are taken; names are looked up by the client. */
function identityOf({ uid = NO_ID, gid = NO_ID, groups = [], ...rest }: Explain): PeerIdentity {
  const { unit, exe = NO_EXECUTABLE, label } = rest;
  return { uid, gid, pid: 0, groups, cgroup: ROOT_CGROUP, unit, exe, label };
}
