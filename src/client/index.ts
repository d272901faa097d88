/** The public API of seqbus. Re-exports only. */

export {
  ArgumentError,
  ClosedError,
  ConfigError,
  DataError,
  ERROR_CODES,
  type ErrorCode,
  GapError,
  LimitError,
  ProtocolError,
  RejectedError,
  ServiceError,
  SyscallError,
  TimeoutError,
} from "../errors.ts";
export type { FdKind, FoundFdKind } from "../fd-kinds.ts";
export type { MappedMemory } from "../ffi/mapping.ts";
export type { OverflowPolicy, QuerySubject } from "../protocol/words.ts";
export type { DeniedReceipt, PublishReceipt, Receipt } from "../receipt.ts";
export type { EncodingName } from "./body-codec.ts";
export { Bus } from "./bus.ts";
export type { DrainOptions, FlushOptions, PolicyQuestion, TopicMap } from "./bus-options.ts";
export type { CallOptions, StreamOptions } from "./call-options.ts";
export type { Reply } from "./calls.ts";
export { Channel } from "./channel.ts";
export type { OpenChannelOptions } from "./channels.ts";
export { type ConnectOptions, connect } from "./connect.ts";
export type { Self } from "./dial.ts";
export type { Gap } from "./gaps.ts";
export { MappedBytes } from "./mapped-bytes.ts";
export {
  type FillOptions,
  type HeldMemory,
  Memory,
  type MemoryPart,
  type MemorySource,
} from "./memory.ts";
export { Message, type Sender, type WithheldReason } from "./message.ts";
export type { FdLike, SendOptions } from "./outgoing-body.ts";
export type { PublishOptions } from "./publisher.ts";
export type { QueryEntry, QueryOptions } from "./queries.ts";
export { type ReadFileOptions, ReceivedFd, ReceivedFds } from "./received-fds.ts";
export type { ReconnectOptions } from "./reconnection.ts";
export { ReplyStream } from "./reply-stream.ts";
export type { ServiceHandler } from "./request-run.ts";
export { type ServeOptions, Service, type ServiceEvent } from "./service.ts";
export { PreparedReply, reply, ServiceRequest } from "./service-request.ts";
export {
  type ServiceState,
  ServiceWatch,
  type WaitOptions,
  type WatchOptions,
} from "./service-watch.ts";
export type { BusError, GapReason, MissedEvents, StatusEvent } from "./status.ts";
export { Subscription } from "./subscription.ts";
export type { SubscribeOptions } from "./subscription-options.ts";
