/** Which program plays which part: seqbus, the floors and peers have their own. */

import { isPeer } from "./peers/peer-kinds.ts";
import type { ClientKind, RelayKind } from "./work-order.ts";

/** What a client process does. */
export type RolePart = "publisher" | "subscriber" | "echo" | "ping" | "idle";

/** @returns the file of a role, below bench/ */
export function roleFile(relay: RelayKind, client: ClientKind, part: RolePart): string {
  const room = isPeer(relay) ? "peers" : "roles";
  return `${room}/${client === "library-iterator" ? "library" : client}-${part}.ts`;
}
