/** Raw clients of another user, in this process: the kernel takes down who connects, and then. */

import { libc } from "../../src/ffi/libc.ts";
import { RawClient } from "./raw-client.ts";

/** (uid_t) -1: as it is. */
const UNCHANGED = 0xffff_ffff;

/** Does something at once with another effective uid, which takes root. */
export function asUser<T>(uid: number, use: () => T): T {
  const own = process.geteuid?.() ?? 0;
  setEffectiveUid(uid);
  try {
    return use();
  } finally {
    setEffectiveUid(own);
  }
}

/** As RawClient.open(), connected by this uid. */
export async function openAs(uid: number, path: string, lane = false): Promise<RawClient> {
  const client = asUser(uid, () => RawClient.connect(path));
  await client.greet(lane);
  return client;
}

/** As RawClient.connect(), by this uid. */
export function connectRawAs(uid: number, path: string): RawClient {
  return asUser(uid, () => RawClient.connect(path));
}

function setEffectiveUid(uid: number): void {
  if (libc.setresuid(UNCHANGED, uid, UNCHANGED) !== 0) throw new Error(`Cannot become ${uid}`);
}
