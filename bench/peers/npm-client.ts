/**
 * What the npm clients of peers have in common, as a Bun user would use them. The packages are those
 * of bench/peers/package.json, which ./setup installs; nothing else of seqbus knows them.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import type { PeerKind } from "./peer-kinds.ts";

/** A connected client. */
export interface NpmClient {
  /** Resolves when every message on these topics will come. */
  readonly subscribe: (
    topics: readonly string[],
    onBody: (body: Uint8Array) => void,
  ) => Promise<void>;
  /** @param body stays as it is until the client is closed */
  readonly publish: (topic: string, body: Uint8Array) => void;
  /** Resolves when all that was published has left this process. */
  readonly flush: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** A connected client that can call. */
export interface NpmCaller {
  /** Resolves when calls of this name will come; each is answered with its body. */
  readonly serve: (name: string) => Promise<void>;
  readonly call: (name: string, body: Uint8Array) => Promise<Uint8Array>;
}

/** What each file of MODULES exports: both connect to a peer that listens at `address`. */
interface ClientModule {
  readonly connect: (address: string) => Promise<NpmClient>;
  /** Where the peer knows calls. */
  readonly connectCaller?: (address: string) => Promise<NpmCaller>;
}

/** The package zeromq is not among them: it needs a function of libuv that Bun does not have. */
const MODULES: Partial<Record<PeerKind, { packageName: string; file: string }>> = {
  redis: { packageName: "ioredis", file: "./ioredis-client.ts" },
  nats: { packageName: "@nats-io/transport-node", file: "./nats-client.ts" },
  mosquitto: { packageName: "mqtt", file: "./mqtt-client.ts" },
  "dbus-daemon": { packageName: "dbus-next", file: "./dbus-next-client.ts" },
  "dbus-broker": { packageName: "dbus-next", file: "./dbus-next-client.ts" },
};

/**
 * Finds the npm client of a peer.
 * @returns its name and version, or undefined where it is not installed
 */
export function findNpmClient(peer: PeerKind): string | undefined {
  const name = MODULES[peer]?.packageName;
  if (name === undefined) return undefined;
  const version = findPackage(name);
  return version === undefined ? undefined : `${name} ${version}`;
}

/**
 * Finds a package that ./setup installs.
 * @returns its version, or undefined where it is not installed
 */
export function findPackage(name: string): string | undefined {
  const path = join(import.meta.dir, "node_modules", name, "package.json");
  if (!existsSync(path)) return undefined;
  const { version } = require(path) as { version: string };
  return version;
}

/** @throws {Error} where it is not installed */
export async function connectNpmClient(peer: string, address: string): Promise<NpmClient> {
  const { connect } = await loadClient(peer);
  return await connect(address);
}

/** @throws {Error} where it is not installed, or the peer knows no calls */
export async function connectNpmCaller(peer: string, address: string): Promise<NpmCaller> {
  const { connectCaller } = await loadClient(peer);
  if (connectCaller === undefined) throw new Error(`${peer} knows no calls`);
  return await connectCaller(address);
}

async function loadClient(peer: string): Promise<ClientModule> {
  const file = MODULES[peer as PeerKind]?.file;
  if (file === undefined) throw new Error(`No npm client is known for ${peer}`);
  return (await import(file)) as ClientModule;
}

/**
 * Loads a package that a checkout does not have before ./setup, and that types cannot be asked of.
 * @throws {Error} where it is not installed
 */
export async function loadPackage<Module>(name: string): Promise<Module> {
  return (await import(name)) as Module;
}
