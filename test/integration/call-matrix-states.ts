/** The states of a call in which its processes are stopped and killed, and how one is played. */

import { SEND_QUEUE_BYTES_MAX } from "../../src/broker/sending/limits.ts";
import { eventually } from "../support/eventually.ts";
import { type Cast, CLIENT_ROLES, type ClientRole, type Role } from "./call-matrix-cast.ts";

/** Bytes of a body: in its packet, or in a memory file. */
const BODY_BYTES = { small: 5, large: 3_000_000 } as const;

/** For a flood: the largest that is in its packet, nearly. */
const FLOOD_BODY_BYTES = 60_000;

/** More than a socket and a queue hold, in steps of which the last is waited for. */
const FLOOD_CALLS = 32 * Math.ceil(SEND_QUEUE_BYTES_MAX / 16 / FLOOD_BODY_BYTES);

/** How large a body is. */
export type BodySize = keyof typeof BODY_BYTES;

/** A call that is made, with the cast that makes it. */
interface Scene {
  readonly cast: Cast;
  /** Of the service; never used before. */
  readonly name: string;
  readonly bodyBytes: number;
}

type ServantRole = Exclude<ClientRole, "caller">;

const BOTH = ["service", "other"] as const;

/** One state. */
interface State {
  /** Brings it about. What it stops goes on afterwards. */
  readonly begin: (scene: Scene) => Promise<void>;
  /** What the service does once it can. Default: it answers. */
  readonly goOn?: (scene: Scene, servants: readonly ServantRole[]) => Promise<void>;
  /** Who serves. Default: the service alone. */
  readonly servants?: readonly ServantRole[];
}

/** Serves, and has one call answered: the next one leaves at once. */
async function open({ cast, name, bodyBytes }: Scene): Promise<void> {
  const [caller, service] = [cast.client("caller"), cast.client("service")];
  await service.call("serve", name, "gate");
  await service.call("openGate", true);
  await caller.call("startCalls", name, 1, bodyBytes);
  const ends = await caller.call("endsOfCalls");
  if (ends.join() !== "answered") throw new Error(`The first call ended with ${ends}`);
  await service.call("closeGate");
}

async function call({ cast, name, bodyBytes }: Scene, count = 1): Promise<void> {
  await cast.client("caller").call("startCalls", name, count, bodyBytes);
}

/** Makes a call, and waits until the handler runs. */
async function work(scene: Scene): Promise<void> {
  await open(scene);
  await call(scene);
  await isAsked(scene, "service");
}

async function isAsked({ cast }: Scene, role: ServantRole): Promise<void> {
  const servant = cast.client(role);
  const runs = async () => (await servant.call("handled")).started > 0;
  await eventually(runs, `a handler of the ${role} runs`);
}

async function serve({ cast, name }: Scene): Promise<void> {
  if (!cast.isAlive("broker") || !cast.isAlive("service")) return;
  await cast.client("service").call("serve", name, "gate");
}

async function waitForService({ cast, name }: Scene): Promise<void> {
  await cast.client("caller").call("startWaiting", name);
  await cast.isPassedOn("caller");
}

/** All of them, by what is true of the call. */
export const STATES = {
  "its request is in the broker's socket": {
    begin: async (scene) => {
      await open(scene);
      // Of those with something for it afterwards, the caller is to be the first that it looks at.
      await scene.cast.isPassedOn("caller");
      await scene.cast.stop("broker");
      await call(scene);
      await scene.cast.hasLeft("caller");
    },
  },
  "its request is in the service's socket": {
    begin: async (scene) => {
      await open(scene);
      await scene.cast.stop("service");
      await call(scene);
      await scene.cast.isPassedOn("caller");
    },
  },
  "it is worked on": { begin: work },
  "its answer is in the broker's socket": {
    begin: async (scene) => {
      await work(scene);
      await scene.cast.stop("broker");
      await scene.cast.client("service").call("openGate", true);
      await scene.cast.hasLeft("service");
    },
  },
  "its answer is in the caller's socket": {
    begin: async (scene) => {
      await work(scene);
      await scene.cast.stop("caller");
      await scene.cast.client("service").call("openGate", true);
      await scene.cast.isPassedOn("service");
    },
  },
  "the queue of its service is full": {
    begin: async (scene) => {
      await open(scene);
      await scene.cast.stop("service");
      await call({ ...scene, bodyBytes: FLOOD_BODY_BYTES }, FLOOD_CALLS);
      await scene.cast.isPassedOn("caller");
    },
  },
  "another call is at another that shares its service": {
    servants: BOTH,
    begin: async (scene) => {
      const { cast, name } = scene;
      for (const role of BOTH)
        await cast.client(role).call("serve", name, "gate", { shared: true });
      await call(scene, BOTH.length);
      for (const role of BOTH) await isAsked(scene, role);
    },
  },
  "its service stood in line, and had its turn while it was stopped": {
    begin: async (scene) => {
      const { cast, name } = scene;
      const [owner, service] = [cast.client("other"), cast.client("service")];
      await owner.call("serve", name, "pid");
      await service.call("serve", name, "gate", { ifOwned: "queue" });
      await cast.stop("service");
      await owner.call("stopServing");
      await call(scene);
      await cast.isPassedOn("caller");
    },
  },
  "waitFor() waits for its service": { begin: waitForService, goOn: serve },
  "waitFor() has its service in the caller's socket": {
    begin: async (scene) => {
      await waitForService(scene);
      await scene.cast.stop("caller");
      await serve(scene);
      await scene.cast.isPassedOn("service");
    },
  },
} satisfies Record<string, State>;

/** A state by its name. */
export type StateName = keyof typeof STATES;

/** A call, and what happens in the middle of it. */
export interface Incident {
  readonly state: StateName;
  readonly body: BodySize;
  readonly victim: Role;
  readonly signal: "SIGKILL" | "SIGSTOP";
}

/** What the ends that live on see. */
export interface Outcome {
  /** What its calls came to, each end once: "answered", "found", or a code. Absent: it was killed. */
  readonly caller?: readonly string[];
  /** What became of the requests that came to those who serve. Absent: all of them were killed. */
  readonly service?: readonly string[];
}

let plays = 0;

/** Brings a call into a state, has it happen, and waits for what comes of it. */
export async function play(cast: Cast, { state, body, ...incident }: Incident): Promise<Outcome> {
  const { victim, signal } = incident;
  await cast.assemble();
  const fds = await countFds(cast);
  plays += 1;
  const scene = { cast, name: `matrix.${plays}`, bodyBytes: BODY_BYTES[body] };
  const { begin, goOn = answer, servants = ["service"] }: State = STATES[state];
  for (const role of servants) await cast.client(role).call("closeGate");
  await begin(scene);
  const living = servants.filter((role) => signal === "SIGSTOP" || role !== victim);
  if (signal === "SIGSTOP") await standStill(cast, victim, () => goOn(scene, living));
  else await die(cast, victim, living);
  if (signal === "SIGKILL") await goOn(scene, living);
  const outcome: Outcome = {
    ...(cast.isAlive("caller") && { caller: await cast.client("caller").call("endsOfCalls") }),
    ...(living.length > 0 && { service: await seenBy(cast, living) }),
  };
  await keepsNoFile(cast, fds);
  return outcome;
}

/** It is killed, and those who live on have seen what that means to them. */
async function die(cast: Cast, victim: Role, servants: readonly ServantRole[]): Promise<void> {
  const pid = await cast.kill(victim);
  cast.resumeOthers();
  if (victim === "caller") {
    await cast.isBuried(pid);
    await cast.hasNoCalls();
  }
  for (const role of servants) {
    const servant = cast.client(role);
    if (victim === "broker") await servant.call("reasonOfEnd");
    else await servant.call("flush");
  }
}

/** It stands still until all others have gone as far as they can without it. */
async function standStill(cast: Cast, victim: Role, goOn: () => Promise<void>): Promise<void> {
  await cast.stop(victim);
  cast.resumeOthers(victim);
  const going = goOn();
  if (victim === "broker") await cast.hasLeft("service");
  else await cast.isPassedOn(victim === "caller" ? "service" : "caller");
  cast.resume(victim);
  await going;
}

/** Fds of all clients that live. */
async function countFds(cast: Cast): Promise<Map<ClientRole, number>> {
  const counts = new Map<ClientRole, number>();
  for (const role of CLIENT_ROLES) {
    if (cast.isAlive(role)) counts.set(role, await cast.client(role).call("countFds", true));
  }
  return counts;
}

/** Those who live on have no more than before. */
async function keepsNoFile(cast: Cast, before: Map<ClientRole, number>): Promise<void> {
  const isAtRest = async () => {
    const now = await countFds(cast);
    return [...now].every(([role, count]) => count <= (before.get(role) ?? 0));
  };
  await eventually(isAtRest, "the clients have no fd more than before");
}

async function answer({ cast }: Scene, servants: readonly ServantRole[]): Promise<void> {
  await Promise.all(servants.map((role) => cast.client(role).call("openGate", true)));
}

async function seenBy(cast: Cast, servants: readonly ServantRole[]): Promise<string[]> {
  const seen = servants.map(async (role) => {
    const { started, aborted } = await cast.client(role).call("handled");
    if (started === 0) return ["is never asked"];
    const told = aborted.map((code) => `is told ${code}`);
    return aborted.length < started ? [...told, "has answered"] : told;
  });
  return [...new Set((await Promise.all(seen)).flat())].sort();
}
