/** A request as a handler sees it, and what a handler can answer with. */

import type { OwnedFd } from "../ffi/owned-fd.ts";
import { MESSAGE_BODY_BYTES_MAX } from "../protocol/limits.ts";
import { duplicateAll } from "./borrowed-fds.ts";
import { Message, type Sender } from "./message.ts";
import { OutgoingBody, type SendOptions } from "./outgoing-body.ts";
import type { ReceivedBody } from "./received-body.ts";

/** Says whether, and when, a request is not wanted any more. */
export interface Cancellation {
  /** Made when it is first asked for. */
  readonly signal: AbortSignal;
}

/** What a caller asks, with its kernel-attested sender. `topic` is the name of the service. */
export class ServiceRequest<Data = unknown> extends Message<Data> {
  /** Milliseconds that the caller waits, from when it called; Infinity: until it gives up. */
  readonly timeoutMs: number;
  /** Whether the caller takes the reply in parts, so that the handler may be a generator. */
  readonly isStream: boolean;
  readonly #cancellation: Cancellation;

  /** Made by the library. @param body handed over */
  constructor(
    name: string,
    sender: Sender,
    body: ReceivedBody,
    timing: { readonly timeoutMs: number; readonly isStream: boolean },
    cancellation: Cancellation,
  ) {
    const { encoding, packet, start, end, fds, withheldDetail, large } = body;
    super(name, sender, encoding, packet, start, end, fds, withheldDetail, large);
    this.timeoutMs = timing.timeoutMs;
    this.isStream = timing.isStream;
    this.#cancellation = cancellation;
  }

  /**
   * Aborted when nobody waits for the reply any more. The reason is a ClosedError CLOSED_BY_CALLER
   * (it gave up, or is gone), a TimeoutError TIMEOUT_CALL, or what ended the bus.
   */
  get signal(): AbortSignal {
    return this.#cancellation.signal;
  }
}

/** Closes the files of replies that were made and never returned. */
const LOST_REPLIES = new FinalizationRegistry<readonly OwnedFd[]>(closeAll);

/** An answer made by reply(). */
export class PreparedReply {
  /** Encoding, and FLAG_LARGE. */
  readonly flags: number;
  /** What stands in the frame: the body, or the length of a large one. */
  readonly bytes: Uint8Array;
  /** Bytes of the large body behind the first fd; 0 for none. */
  readonly memoryBytes: number;
  readonly #fds: readonly OwnedFd[];

  /** Made by reply(). @param fds handed over */
  constructor({ flags, bytes, memoryBytes }: OutgoingBody, fds: readonly OwnedFd[]) {
    this.flags = flags;
    this.bytes = bytes.slice();
    this.memoryBytes = memoryBytes;
    this.#fds = fds;
    if (fds.length > 0) LOST_REPLIES.register(this, fds, this);
  }

  /** Borrowed until close(). */
  get fds(): readonly number[] {
    return this.#fds.map((fd) => fd.number);
  }

  /** Closes its files here; the library does that once they are sent. */
  close(): void {
    if (this.#fds.length === 0) return;
    LOST_REPLIES.unregister(this);
    closeAll(this.#fds);
  }
}

/**
 * An answer with files, or with an encoding of its own. All else a handler may just return.
 * @param options fds are borrowed: you may close yours at once
 * @throws {ArgumentError} ARGUMENT_DATA, ARGUMENT_FD
 * @throws {LimitError} LIMIT_MESSAGE_BYTES, LIMIT_MESSAGE_FDS
 * @throws {SyscallError} EMFILE, ENOMEM
 * @example
 * await bus.serve("files.open", (request) => {
 *   using file = openNotes(request.data);
 *   return reply({ ok: true }, { fds: [file] });
 * });
 */
export function reply(data: unknown, options: SendOptions = {}): PreparedReply {
  const action = { verb: "answer", name: "a call" };
  using body = OutgoingBody.of(data, options, MESSAGE_BODY_BYTES_MAX, action);
  return new PreparedReply(body, duplicateAll(body.fds));
}

function closeAll(fds: readonly OwnedFd[]): void {
  for (const fd of fds) fd.close();
}
