/**
 * What a program sends, made ready for a frame: encoded, and put into sealed memory where no frame
 * has room for it. The same for messages, requests, replies and channels.
 */

import { ArgumentError, LimitError } from "../errors.ts";
import { assertFd } from "../ffi/fd-number.ts";
import { LARGE_BODY_BYTES_MAX, LARGE_SIZE_BYTES, MESSAGE_FDS_MAX } from "../protocol/limits.ts";
import { ENCODING, FLAG_LARGE } from "../protocol/opcodes.ts";
import { type EncodingName, encodeBody } from "./body-codec.ts";
import { assertSealed, Memory } from "./memory.ts";

/** Something that stands for an open fd: a number, or an object that has one (Bun, node:fs). */
export type FdLike = number | { readonly fd: number };

/** How data is sent. */
export interface SendOptions {
  /** Default "auto": bytes for a Uint8Array, text for a string, msgpack for all else. */
  readonly encoding?: EncodingName;
  /**
   * Files to pass along, at most 253; 252 beside a body above 64 KiB or a `Memory`, which travels as
   * one more. Borrowed: you may close yours when the call returns.
   */
  readonly fds?: readonly FdLike[];
}

/** For error messages: what cannot be done, such as "call" and the name of the service. */
export interface SendAction {
  readonly verb: string;
  readonly name: string;
}

const NO_FDS: readonly number[] = [];

/** A body for one frame. With `using`, the memory that it may have made is let go; fds are not. */
export class OutgoingBody implements Disposable {
  /** Encoding, and FLAG_LARGE. */
  readonly flags: number;
  /** What stands in the frame. Valid until the next body is made; copy it at once. */
  readonly bytes: Uint8Array;
  /** Borrowed. */
  readonly fds: readonly number[];
  /** Bytes of the large body behind the first of them; 0 for none. */
  readonly memoryBytes: number;
  readonly #memory: Memory | undefined;

  private constructor(
    flags: number,
    bytes: Uint8Array,
    fds: readonly number[],
    memoryBytes = 0,
    memory?: Memory,
  ) {
    this.flags = flags;
    this.bytes = bytes;
    this.fds = fds;
    this.memoryBytes = memoryBytes;
    this.#memory = memory;
  }

  /**
   * Makes a body of data.
   * @param bytesMax what a frame has room for; a larger one goes into memory
   * @throws {ArgumentError} ARGUMENT_DATA, ARGUMENT_FD
   * @throws {LimitError} LIMIT_MESSAGE_BYTES, LIMIT_MESSAGE_FDS
   * @throws {SyscallError} EMFILE, ENOMEM where there is no room for a large body
   */
  static of(
    data: unknown,
    options: SendOptions | undefined,
    bytesMax: number,
    action: SendAction,
  ): OutgoingBody {
    const fds = fdNumbers(options?.fds);
    if (data instanceof Memory) {
      checkEncodingOfMemory(options?.encoding);
      assertSealed(data);
      return ofMemory(ENCODING.BYTES, data, fds, action);
    }
    const { encoding, bytes } = encodeBody(data, options?.encoding ?? "auto");
    if (bytes.byteLength <= bytesMax) return new OutgoingBody(encoding, bytes, fds);
    if (bytes.byteLength > LARGE_BODY_BYTES_MAX) throw tooLarge(action, bytes.byteLength);
    using made = new DisposableStack();
    const memory = made.use(Memory.from(bytes).seal());
    const body = ofMemory(encoding, memory, fds, action, memory);
    made.move();
    return body;
  }

  /** For ofMemory(). */
  static large(
    flags: number,
    fds: readonly number[],
    byteLength: number,
    memory: Memory | undefined,
  ): OutgoingBody {
    const bytes = new Uint8Array(LARGE_SIZE_BYTES);
    new DataView(bytes.buffer).setUint32(0, byteLength, true);
    return new OutgoingBody(flags | FLAG_LARGE, bytes, fds, byteLength, memory);
  }

  [Symbol.dispose](): void {
    this.#memory?.close();
  }
}

function ofMemory(
  encoding: number,
  memory: Memory,
  files: readonly number[],
  action: SendAction,
  owned?: Memory,
): OutgoingBody {
  const { byteLength, fd } = memory;
  if (byteLength > LARGE_BODY_BYTES_MAX) throw tooLarge(action, byteLength);
  return OutgoingBody.large(encoding, fdsBehind(fd, files), byteLength, owned);
}

/**
 * The numbers of what a program lends.
 * @throws {LimitError} LIMIT_MESSAGE_FDS
 * @throws {ArgumentError} ARGUMENT_FD
 */
export function fdNumbers(fds: readonly FdLike[] | undefined): readonly number[] {
  if (fds === undefined || fds.length === 0) return NO_FDS;
  if (fds.length > MESSAGE_FDS_MAX) throw tooManyFds(fds.length, MESSAGE_FDS_MAX);
  return fds.map((fd) => {
    const number: unknown = typeof fd === "number" ? fd : fd?.fd;
    assertFd(number, "fds");
    return number;
  });
}

/** States that an encoding goes with memory. @throws {ArgumentError} ARGUMENT_DATA */
export function checkEncodingOfMemory(encoding: EncodingName = "auto"): void {
  if (encoding === "auto" || encoding === "bytes") return;
  const message = `Cannot encode data as ${encoding}: it is memory, which travels as bytes`;
  throw new ArgumentError("ARGUMENT_DATA", message, "data");
}

/**
 * What goes with a message whose body travels as memory.
 * @param memoryFd borrowed, as the files are
 * @throws {LimitError} LIMIT_MESSAGE_FDS
 */
export function fdsBehind(memoryFd: number, files: readonly number[]): readonly number[] {
  const limit = MESSAGE_FDS_MAX - 1;
  if (files.length <= limit) return [memoryFd, ...files];
  throw tooManyFds(files.length, limit, ": its body travels as memory, which takes one more");
}

/** LIMIT_MESSAGE_FDS. @param why the limit is what it is, behind the sentence */
function tooManyFds(count: number, limit: number, why = ""): LimitError {
  const message = `Cannot send ${count} fds with one message, limit is ${limit}${why}`;
  return new LimitError("LIMIT_MESSAGE_FDS", message, { limit, actual: count });
}

/** LIMIT_MESSAGE_BYTES. */
export function tooLarge({ verb, name }: SendAction, bytes: number): LimitError {
  const message = `Cannot ${verb} "${name}": message is ${bytes} bytes`;
  return new LimitError("LIMIT_MESSAGE_BYTES", `${message}, limit is ${LARGE_BODY_BYTES_MAX}`, {
    limit: LARGE_BODY_BYTES_MAX,
    actual: bytes,
  });
}
