/**
 * One last value: a message as later subscribers get it, with who sent it and the files that it
 * came with. Kept and let go by retained-table.ts.
 */

import type { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import type { Connection } from "../connection.ts";
import { FdBundle, type FdPayer } from "../fds/fd-bundle.ts";
import type { PeerIdentity } from "../identity/identity.ts";
import type { Topic } from "../routing/topic-table.ts";
import type { Deadlined } from "./deadline-heap.ts";
import type { RetainedCharge } from "./retained-charge.ts";

/** Who sent last values; outlives the connection. */
export interface Origin {
  /** The connection id. */
  readonly id: number;
  readonly identity: PeerIdentity;
  /** Undefined once it is gone. */
  connection: Connection | undefined;
}

/** A message that is kept. */
export interface RetainedValue extends Deadlined {
  /** Held for as long as the value is kept, so its id stays the same. */
  readonly topic: Topic;
  readonly origin: Origin;
  /** The whole frame with padding: a MESSAGE with the flag RETAINED, ready to be delivered. */
  readonly frame: PinnedBuffer;
  /** Its files, held by the value; undefined for none. */
  readonly bundle: FdBundle | undefined;
  /** When it was kept, on the table's count of events. Higher than those of all before. */
  readonly keptAt: number;
  readonly charge: RetainedCharge;
}

/**
 * The same files in a bundle of their own, whose copies somebody else pays for.
 * @param bundle borrowed, and retained for as long as the new one has a holder
 * @param payer by default nobody: no copies are sent of it
 */
export function shareFds(bundle: FdBundle, payer?: FdPayer): FdBundle {
  const source = bundle.retain();
  let toClose = source.count;
  const bodyFdCount = source.bodyFds.length === 0 ? 0 : 1;
  return new FdBundle(source.fds, closeOne, bodyFdCount, payer);

  function closeOne(): void {
    toClose -= 1;
    if (toClose === 0) source.release();
  }
}
