/**
 * Requests that outlive the call() that made them: they wait for their service to open or for a
 * connection, or are to be sent again. Counted together, so that they have a limit.
 */

import { LimitError } from "../errors.ts";
import type { OwnedFd } from "../ffi/owned-fd.ts";
import { BODY_PREFIX_BYTES, FRAME_HEADER_BYTES } from "../protocol/limits.ts";
import { duplicateAll } from "./borrowed-fds.ts";
import { KEPT_MESSAGE_BYTES, OUTBOUND_BYTES_MAX } from "./limits.ts";

/** A request as it is written. */
export interface RequestBody {
  readonly flags: number;
  readonly bytes: Uint8Array;
  /** Borrowed. */
  readonly fds: readonly number[];
  readonly memoryBytes: number;
}

/** One that is kept. */
export interface KeptRequest {
  readonly flags: number;
  readonly bytes: Uint8Array;
  readonly fds: readonly OwnedFd[];
  readonly memoryBytes: number;
  /** It may be sent again where the connection was lost behind it. */
  readonly isIdempotent: boolean;
  /**
   * It is older than the connection, so its service may be on the way back, too: that nobody serves
   * it is no answer yet.
   */
  waitsForService: boolean;
  /** It had left on a connection that was lost behind it. */
  wasSent: boolean;
  /** That nobody serves it, where that was the broker's last word on it. */
  refusal: Error | undefined;
}

/** See the head of this file. */
export class KeptRequests {
  #bytes = 0;

  /**
   * Keeps a copy.
   * @param name of the service, for the error
   * @throws {LimitError} LIMIT_OUTBOUND
   * @throws {SyscallError} EMFILE
   */
  keep(name: string, request: RequestBody, isIdempotent: boolean): KeptRequest {
    if (this.#bytes > OUTBOUND_BYTES_MAX) {
      throw new LimitError(
        "LIMIT_OUTBOUND",
        `Cannot call "${name}": ${this.#bytes} bytes of calls are kept`,
        { limit: OUTBOUND_BYTES_MAX, actual: this.#bytes },
      );
    }
    const kept: KeptRequest = {
      flags: request.flags,
      bytes: request.bytes.slice(),
      fds: duplicateAll(request.fds),
      memoryBytes: request.memoryBytes,
      isIdempotent,
      waitsForService: false,
      wasSent: false,
      refusal: undefined,
    };
    this.#bytes += bytesOf(kept);
    return kept;
  }

  /** Lets go of it; to be called once. */
  drop(kept: KeptRequest): void {
    this.#bytes -= bytesOf(kept);
    for (const fd of kept.fds) fd.close();
  }
}

/** What the object around it takes counts, too: there may be a million. */
function bytesOf({ bytes, memoryBytes }: KeptRequest): number {
  const frameBytes = FRAME_HEADER_BYTES + BODY_PREFIX_BYTES + bytes.byteLength;
  return KEPT_MESSAGE_BYTES + frameBytes + memoryBytes;
}
