/** The public API of seqbus. Re-exports only. */

export {
  ArgumentError,
  ClosedError,
  ConfigError,
  DataError,
  ERROR_CODES,
  type ErrorCode,
  LimitError,
  ProtocolError,
  RejectedError,
  SyscallError,
  TimeoutError,
} from "../errors.ts";
export type { FdKind, FoundFdKind } from "../fd-kinds.ts";
export type { MappedMemory } from "../ffi/mapping.ts";
export type { QuerySubject } from "../protocol/words.ts";
export type { EncodingName } from "./body-codec.ts";
export {
  Bus,
  type FlushOptions,
  type PolicyQuestion,
  type Receipt,
  type Self,
  type TopicMap,
} from "./bus.ts";
export { type ConnectOptions, connect } from "./connect.ts";
export { MappedBytes } from "./mapped-bytes.ts";
export {
  type FillOptions,
  type HeldMemory,
  Memory,
  type MemoryPart,
  type MemorySource,
} from "./memory.ts";
export { Message, type Sender } from "./message.ts";
export type { FdLike, PublishOptions } from "./publisher.ts";
export type { QueryEntry, QueryOptions } from "./queries.ts";
export { type ReadFileOptions, ReceivedFd, ReceivedFds } from "./received-fds.ts";
export type { GapReason, StatusEvent } from "./status.ts";
export { type SubscribeOptions, Subscription } from "./subscription.ts";
