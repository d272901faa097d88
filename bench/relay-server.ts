/**
 * What stands in the middle of a run: seqbus, a floor in TypeScript or C, or a peer. Started, and
 * waited for until it can be used. A peer, or a C compiler, that is not installed is named.
 */

import { dirname, join } from "node:path";
import { isPeer } from "./peers/peer-kinds.ts";
import { findPeer, startPeer } from "./peers/peer-servers.ts";
import { RoleProcess } from "./role-process.ts";
import type { RelayKind, WorkOrder } from "./work-order.ts";

/** A process that relays. Disposing of it ends it. */
export interface RelayServer extends AsyncDisposable {
  readonly pid: number;
  /** Where clients find it, as WorkOrder.path. */
  readonly address: string;
}

const ROLE_FILES = { floor: "floor-relay.ts", broker: "roles/broker.ts" } as const;

/** The C compiler that the floor in C is for. */
export const COMPILER = "cc";

/** Starts it; when it is back it takes connections. */
export async function startRelay(kind: RelayKind, order: WorkOrder): Promise<RelayServer> {
  if (isPeer(kind)) return await startPeer(kind, dirname(order.path));
  if (kind === "floor-c") return await startFloorInC(order, []);
  if (kind === "floor-c-stretches") return await startFloorInC(order, ["stretches"]);
  const relay = new RoleProcess(ROLE_FILES[kind], order);
  try {
    await relay.expect("ready");
  } catch (error) {
    await relay[Symbol.asyncDispose]();
    throw error;
  }
  return {
    pid: relay.pid,
    address: order.path,
    [Symbol.asyncDispose]: () => relay[Symbol.asyncDispose](),
  };
}

const versions = new Map<RelayKind, string | undefined>();

/**
 * Looks for a relay on this machine, once.
 * @returns its version, or undefined where it is absent
 */
export function findRelay(kind: RelayKind): string | undefined {
  if (!versions.has(kind)) versions.set(kind, lookForRelay(kind));
  return versions.get(kind);
}

function lookForRelay(kind: RelayKind): string | undefined {
  if (isPeer(kind)) return findPeer(kind);
  if (!kind.startsWith("floor-c")) return "of this checkout";
  if (Bun.which(COMPILER) === null) return undefined;
  return Bun.spawnSync([COMPILER, "--version"]).stdout.toString().split("\n")[0];
}

/** @param modes what it is told beside where to listen */
async function startFloorInC(order: WorkOrder, modes: readonly string[]): Promise<RelayServer> {
  const child = Bun.spawn({
    cmd: [compileFloor(dirname(order.path)), order.path, ...modes],
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { value } = await child.stdout.getReader().read();
  if (value === undefined) throw new Error("The floor relay in C did not start");
  return {
    pid: child.pid,
    address: order.path,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

/** Compiles the floor relay into the directory of a run, which goes with it. */
function compileFloor(directory: string): string {
  const target = join(directory, "relay");
  const source = join(import.meta.dir, "floor/relay.c");
  const { exitCode, stderr } = Bun.spawnSync([COMPILER, "-O2", "-o", target, source]);
  if (exitCode !== 0) throw new Error(`Cannot compile ${source}: ${stderr.toString()}`);
  return target;
}
