/**
 * What those who live on see of a call where the caller, the service or the broker is killed, or stopped
 * for a while, in each state that a call can be in. All are processes of their own. In each cell the
 * broker has neither a call nor an fd left afterwards, and no client has more fds than before.
 *
 * Cells with `heldBy` name the test that holds them for small bodies; they are played here with large
 * ones alone. While nobody serves yet there is no service to strike. Of buses that connect again: call-broker-killed, service-reconnect. Where the caller's time runs
 * out meanwhile: client-services, call-broker-stopped. With files: call-fds.
 */

import { afterAll, describe, expect, test } from "bun:test";
import type { ErrorCode } from "../../src/errors.ts";
import { Cast, type Role } from "./call-matrix-cast.ts";
import { type BodySize, type Incident, play, type StateName } from "./call-matrix-states.ts";

type CallerEnd = "answered" | "found" | ErrorCode;
type ServiceEnd = "is never asked" | "has answered" | `is told ${ErrorCode}`;

/** One cell: who is struck by what, and what the others see of it. */
interface Cell {
  readonly victim: Role;
  readonly signal: Incident["signal"];
  /** Each end that its calls have; absent: it is dead. */
  readonly caller?: readonly CallerEnd[];
  /** Each end that requests have there; absent: it is dead. */
  readonly service?: readonly ServiceEnd[];
  readonly heldBy?: string;
}

const KILLED = "SIGKILL";
const STOPPED = "SIGSTOP";
const ANSWERED = { caller: ["answered"], service: ["has answered"] } as const;
const CALLER_GONE = { service: ["is told CLOSED_BY_CALLER"] } as const;
const SERVICE_GONE = { caller: ["CLOSED_BY_SERVICE"] } as const;
const BROKER_GONE = { caller: ["CLOSED_BY_PEER"], service: ["is told CLOSED_BY_PEER"] } as const;
const FOUND = { caller: ["found"], service: ["is never asked"] } as const;

/** Some calls were refused at once, and the others are answered. */
const SOME_ANSWERED = {
  caller: ["LIMIT_PENDING_CALLS", "answered"],
  service: ["has answered"],
} as const;

const BROKER_KILLED = "call-broker-killed.test.ts";
const BROKER_STOPPED = "call-broker-stopped.test.ts";
const SERVICES = "client-services.test.ts";
const STATES = "call-states.test.ts";

const WITH_BODIES: Partial<Record<StateName, readonly Cell[]>> = {
  "its request is in the broker's socket": [
    { victim: "caller", signal: KILLED, ...CALLER_GONE },
    { victim: "caller", signal: STOPPED, ...ANSWERED },
    { victim: "service", signal: KILLED, ...SERVICE_GONE },
    { victim: "service", signal: STOPPED, ...ANSWERED },
    {
      victim: "broker",
      signal: KILLED,
      caller: ["CLOSED_BY_PEER"],
      service: ["is never asked"],
      heldBy: BROKER_KILLED,
    },
    { victim: "broker", signal: STOPPED, ...ANSWERED, heldBy: BROKER_STOPPED },
  ],
  "its request is in the service's socket": [
    { victim: "caller", signal: KILLED, ...CALLER_GONE },
    { victim: "caller", signal: STOPPED, ...ANSWERED },
    { victim: "service", signal: KILLED, ...SERVICE_GONE, heldBy: STATES },
    { victim: "service", signal: STOPPED, ...ANSWERED },
    { victim: "broker", signal: KILLED, ...BROKER_GONE },
    { victim: "broker", signal: STOPPED, ...ANSWERED },
  ],
  "it is worked on": [
    { victim: "caller", signal: KILLED, ...CALLER_GONE, heldBy: SERVICES },
    { victim: "caller", signal: STOPPED, ...ANSWERED, heldBy: SERVICES },
    { victim: "service", signal: KILLED, ...SERVICE_GONE, heldBy: SERVICES },
    { victim: "service", signal: STOPPED, ...ANSWERED, heldBy: SERVICES },
    { victim: "broker", signal: KILLED, ...BROKER_GONE, heldBy: BROKER_KILLED },
    { victim: "broker", signal: STOPPED, ...ANSWERED, heldBy: BROKER_STOPPED },
  ],
  "its answer is in the broker's socket": [
    { victim: "caller", signal: KILLED, service: ["has answered"] },
    { victim: "caller", signal: STOPPED, ...ANSWERED },
    { victim: "service", signal: KILLED, caller: ["answered"] },
    { victim: "service", signal: STOPPED, ...ANSWERED },
    {
      victim: "broker",
      signal: KILLED,
      caller: ["CLOSED_BY_PEER"],
      service: ["has answered"],
      heldBy: BROKER_KILLED,
    },
    { victim: "broker", signal: STOPPED, ...ANSWERED, heldBy: BROKER_STOPPED },
  ],
  "its answer is in the caller's socket": [
    { victim: "caller", signal: KILLED, service: ["has answered"], heldBy: STATES },
    { victim: "caller", signal: STOPPED, ...ANSWERED, heldBy: SERVICES },
    { victim: "service", signal: KILLED, caller: ["answered"] },
    { victim: "service", signal: STOPPED, ...ANSWERED },
    { victim: "broker", signal: KILLED, ...ANSWERED },
    { victim: "broker", signal: STOPPED, ...ANSWERED },
  ],
};

const WITHOUT_BODIES: Partial<Record<StateName, readonly Cell[]>> = {
  "the queue of its service is full": [
    { victim: "caller", signal: KILLED, ...CALLER_GONE },
    { victim: "caller", signal: STOPPED, ...SOME_ANSWERED },
    { victim: "service", signal: KILLED, caller: ["CLOSED_BY_SERVICE", "LIMIT_PENDING_CALLS"] },
    { victim: "service", signal: STOPPED, ...SOME_ANSWERED },
    {
      victim: "broker",
      signal: KILLED,
      caller: ["CLOSED_BY_PEER", "LIMIT_PENDING_CALLS"],
      service: ["is told CLOSED_BY_PEER"],
    },
    { victim: "broker", signal: STOPPED, ...SOME_ANSWERED },
  ],
  "another call is at another that shares its service": [
    { victim: "caller", signal: KILLED, ...CALLER_GONE },
    { victim: "caller", signal: STOPPED, ...ANSWERED },
    {
      victim: "service",
      signal: KILLED,
      caller: ["CLOSED_BY_SERVICE", "answered"],
      service: ["has answered"],
      heldBy: STATES,
    },
    { victim: "service", signal: STOPPED, ...ANSWERED },
    { victim: "broker", signal: KILLED, ...BROKER_GONE },
    { victim: "broker", signal: STOPPED, ...ANSWERED },
  ],
  "its service stood in line, and had its turn while it was stopped": [
    { victim: "caller", signal: KILLED, ...CALLER_GONE },
    { victim: "caller", signal: STOPPED, ...ANSWERED },
    { victim: "service", signal: KILLED, ...SERVICE_GONE },
    { victim: "service", signal: STOPPED, ...ANSWERED, heldBy: "call-processes.test.ts" },
    { victim: "broker", signal: KILLED, ...BROKER_GONE },
    { victim: "broker", signal: STOPPED, ...ANSWERED },
  ],
  "waitFor() waits for its service": [
    { victim: "caller", signal: KILLED, service: ["is never asked"] },
    { victim: "caller", signal: STOPPED, ...FOUND },
    {
      victim: "broker",
      signal: KILLED,
      caller: ["CLOSED_BY_PEER"],
      service: ["is never asked"],
    },
    { victim: "broker", signal: STOPPED, ...FOUND },
  ],
  "waitFor() has its service in the caller's socket": [
    { victim: "caller", signal: KILLED, service: ["is never asked"] },
    { victim: "caller", signal: STOPPED, ...FOUND },
    { victim: "service", signal: KILLED, caller: ["found"] },
    { victim: "service", signal: STOPPED, ...FOUND },
    { victim: "broker", signal: KILLED, ...FOUND },
    { victim: "broker", signal: STOPPED, ...FOUND },
  ],
};

const cast = new Cast();

afterAll(async () => {
  await cast[Symbol.asyncDispose]();
});

async function expectOutcome(state: StateName, body: BodySize, cell: Cell): Promise<void> {
  const { victim, signal, heldBy: _, ...ends } = cell;
  try {
    expect(await play(cast, { state, body, victim, signal })).toEqual(ends);
    // Whoever was killed is replaced: the broker has then what it had before.
    await cast.assemble();
  } catch (error) {
    // Nothing of this one is left to the others.
    await cast[Symbol.asyncDispose]();
    throw error;
  }
}

function define(
  states: Partial<Record<StateName, readonly Cell[]>>,
  body: BodySize,
  isHere: (cell: Cell) => boolean,
): void {
  for (const [state, cells] of Object.entries(states) as [StateName, readonly Cell[]][]) {
    for (const cell of cells.filter(isHere)) {
      const what = cell.signal === KILLED ? "killed" : "stopped, and goes on";
      test(`${state}; the ${cell.victim} is ${what}`, () => expectOutcome(state, body, cell));
    }
  }
}

describe("a call with a small body:", () => {
  define(WITH_BODIES, "small", ({ heldBy }) => heldBy === undefined);
  define(WITHOUT_BODIES, "small", ({ heldBy }) => heldBy === undefined);
});

describe("a call with a large body:", () => {
  define(WITH_BODIES, "large", () => true);
});
