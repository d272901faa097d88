/**
 * Every error class and every error code of seqbus.
 *
 * A class per reaction, a code per cause: match on `code`, never on the text. Nothing else in the
 * project may throw a bare `Error` for an operating condition. `docs/errors.md` holds the same
 * codes with the same sentences; a test compares them.
 */

import type { DeniedReceipt } from "./receipt.ts";

/** Code and meaning of every error that is not a plain errno. One sentence each. */
export const ERROR_CODES = {
  PROTOCOL_VERSION: "The two sides do not speak the same protocol version.",
  PROTOCOL_STATE: "A frame came when it may not, such as one before HELLO, or a second HELLO.",
  PROTOCOL_PACKET_SIZE: "A packet is empty, too large, or its length is not a multiple of 8.",
  PROTOCOL_FRAME_LENGTH:
    "A frame is shorter than its header, reaches past its packet, or does not fit its flags.",
  PROTOCOL_OPCODE: "The opcode is unknown or may not be sent in this direction.",
  PROTOCOL_FLAGS: "A flag is set that is unknown or may not be sent in this direction.",
  PROTOCOL_FD_COUNT: "The fd count of a frame differs from the fds the kernel delivered with it.",
  PROTOCOL_CONTROL_BODY: "The body of a control frame is not the msgpack map it should be.",
  PROTOCOL_TOPIC_ID: "A message uses a topic id that stands for nothing on this connection.",
  PROTOCOL_REQUEST_ID: "A request has the id 0, or an answer has an id that nobody waits for.",
  PROTOCOL_LANE: "The fd lane and the packet stream do not agree.",
  REJECTED_BY_POLICY: "The policy does not grant this right on this topic.",
  REJECTED_NOT_OWNER: "The broker runs without a policy and serves only its own user.",
  REJECTED_TOPIC_NAME: "The topic name is malformed or reserved.",
  REJECTED_PATTERN: "The topic pattern is malformed.",
  REJECTED_SUBSCRIPTION: "The connection has no subscription with this id.",
  REJECTED_SENDER: "A packet was sent by another process than the one that connected.",
  REJECTED_NOT_ADMINISTRATOR: "Only root and the broker's own user may ask for this.",
  REJECTED_ACTION: "The policy knows no right of this name.",
  REJECTED_FD_KIND: "The topic does not take open files of this kind.",
  REJECTED_NO_SERVICE: "Nobody serves this.",
  REJECTED_SERVICE_OWNED: "Somebody else serves this, and not in a way that can be shared.",
  REJECTED_SERVICE: "The connection does not serve or watch a service with this id.",
  REJECTED_RETAIN: "The policy lets nobody keep a last value of this topic.",
  REJECTED_GROUP: "The name of the queue group is malformed.",
  REJECTED_NO_CHANNEL: "Whoever serves this takes no private channels.",
  REJECTED_OVERFLOW: "The policy lets nobody hold back the publishers of these topics.",
  REJECTED_REPLY: "The service answered in a way that the call does not allow.",
  REJECTED_LARGE_BODY: "The body of a large message is not sealed memory of the length it claims.",
  REJECTED_BROKER: "The process that listens on the socket is not one this client trusts.",
  LIMIT_CONNECTIONS:
    "The broker or this user has as many connections as it may, or the user connects too often.",
  LIMIT_TOPICS:
    "The connection or its user has opened as many topics as it may, or the broker is full.",
  LIMIT_SUBSCRIPTIONS: "The connection or its user has as many subscriptions as it may.",
  LIMIT_MESSAGE_BYTES: "A message is larger than the bus, its topic or its user may carry.",
  LIMIT_MESSAGE_FDS: "A message carries more file descriptors than one packet can.",
  LIMIT_QUEUED_FDS: "More file descriptors are on their way, or open, than may be.",
  LIMIT_FILE_BYTES: "A file or memory holds more bytes than the program allowed for.",
  LIMIT_CONTROL_QUEUE: "The client reads so slowly that not even control frames fit any more.",
  LIMIT_PENDING_CALLS: "There are as many calls without an answer as there may be.",
  LIMIT_RETAINED: "The last values of this user take as much room as they may.",
  LIMIT_SERVICES: "The connection or its user serves or watches as many services as it may.",
  LIMIT_SLOW_READER: "The client read too slowly for the overflow policy that it chose.",
  LIMIT_REPLY: "A reply did not fit into the queue of the caller.",
  LIMIT_OUTBOUND: "The client library holds as many unsent bytes as it may.",
  CLOSED_BY_BROKER: "The broker is shutting down and says goodbye.",
  CLOSED_BY_SERVICE: "Whoever served the call went away before it had answered.",
  CLOSED_BY_CALLER: "The caller went away, or gave the call up.",
  CLOSED_DISCONNECTED:
    "The connection was lost: there is none now, or messages may be lost with it.",
  CLOSED_BY_PEER: "The other side closed the connection without saying goodbye.",
  CLOSED_BY_USER: "This program closed the bus or the object itself.",
  TIMEOUT_CONNECT: "The broker did not answer the connection in time.",
  TIMEOUT_HELLO: "The client connected and did not say HELLO in time.",
  TIMEOUT_CALL: "The service did not answer in time.",
  TIMEOUT_SERVICE: "Nobody began to serve this in time.",
  TIMEOUT_FLUSH: "The broker did not confirm a flush in time.",
  TIMEOUT_DRAIN: "Not everything that was under way was finished in time.",
  TIMEOUT_FILE: "A received file gave nothing in time.",
  ARGUMENT_TOPIC: "The topic name is malformed.",
  ARGUMENT_PATTERN: "The topic pattern is malformed.",
  ARGUMENT_DATA: "The data cannot be encoded as asked.",
  ARGUMENT_FD: "The value is not an open file descriptor number.",
  ARGUMENT_SOCKET_PATH: "The socket path is empty, too long or not a pathname.",
  ARGUMENT_CLIENT: "There is no such client, or it may not be seen.",
  ARGUMENT_OPTION: "An option has a value outside its range.",
  CONFIG_POLICY: "A policy file is unreadable, empty or wrong.",
  CONFIG_SOCKET_DIRECTORY: "The directory of the socket is missing or cannot be trusted.",
  CONFIG_SOCKET_IN_USE: "Another broker serves this socket path.",
  CONFIG_PLATFORM: "This machine or runtime cannot run seqbus.",
  DATA_FDS_TAKEN: "The received file descriptor was already taken or closed.",
  DATA_NOT_SEALED: "The file descriptor is not sealed memory, so it must not be mapped.",
  DATA_BODY_RELEASED: "The body of a large message was let go before it was read.",
  DATA_GAP: "Messages that the subscription should have got are missing in this place.",
  DATA_DECODE: "The body of a message does not decode as its encoding says.",
} as const;

/** Any code of the table above. */
export type ErrorCode = keyof typeof ERROR_CODES;

type CodeOf<Prefix extends string> = Extract<ErrorCode, `${Prefix}_${string}`>;

/** The codes of one class of error each. */
export type ProtocolErrorCode = CodeOf<"PROTOCOL">;
export type RejectedErrorCode = CodeOf<"REJECTED">;
export type LimitErrorCode = CodeOf<"LIMIT">;
export type ClosedErrorCode = CodeOf<"CLOSED">;
export type TimeoutErrorCode = CodeOf<"TIMEOUT">;
export type ArgumentErrorCode = CodeOf<"ARGUMENT">;
export type ConfigErrorCode = CodeOf<"CONFIG">;
export type DataErrorCode = CodeOf<"DATA">;

/** A system call failed. Reaction: retry or report. */
export class SyscallError extends Error {
  override readonly name = "SyscallError";
  /** The errno's kernel name, such as "ECONNREFUSED". */
  readonly code: string;
  /** The kernel's number for it. */
  readonly errno: number;
  /** The call that failed, such as "connect". */
  readonly syscall: string;
  /** What it was about, where that has a path. */
  readonly path: string | undefined;

  constructor(
    message: string,
    fields: { code: string; errno: number; syscall: string; path?: string },
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.code = fields.code;
    this.errno = fields.errno;
    this.syscall = fields.syscall;
    this.path = fields.path;
  }
}

/** The other side broke the protocol. Reaction: drop that peer, nobody else. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  readonly code: ProtocolErrorCode;
  /** Where in the packet, in bytes from its start. */
  readonly byteOffset: number;

  constructor(code: ProtocolErrorCode, message: string, byteOffset = 0, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.byteOffset = byteOffset;
  }
}

/** The broker refused a request. Reaction: change the request, or the policy. */
export class RejectedError extends Error {
  override readonly name = "RejectedError";
  readonly code: RejectedErrorCode;
  /** The wire number of the code. */
  readonly status: number;
  /** The rule that decided, as `id` or `file:line`; undefined where no rule spoke. */
  readonly rule: string | undefined;
  /** The topic, pattern or service that was refused, where the broker names it. */
  readonly topic: string | undefined;
  /** From flush(), and publish() with a receipt: what became of the messages, this refusal among it. */
  readonly receipt: DeniedReceipt | undefined;

  constructor(
    code: RejectedErrorCode,
    message: string,
    fields: {
      status: number;
      rule?: string | undefined;
      topic?: string | undefined;
      receipt?: DeniedReceipt;
    },
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.code = code;
    this.status = fields.status;
    this.rule = fields.rule;
    this.topic = fields.topic;
    this.receipt = fields.receipt;
  }
}

/** Something is larger than its limit. Reaction: back off, or ask for less. */
export class LimitError extends RangeError {
  override readonly name = "LimitError";
  readonly code: LimitErrorCode;
  /**
   * How much there may be, and how much there is, or would be; docs/errors.md says of what. Undefined
   * where whoever set the limit did not say it over the wire, which this broker always does.
   */
  readonly limit: number | undefined;
  readonly actual: number | undefined;
  /** As RejectedError has it. */
  readonly receipt: DeniedReceipt | undefined;

  constructor(
    code: LimitErrorCode,
    message: string,
    fields: {
      readonly limit: number | undefined;
      readonly actual: number | undefined;
      readonly receipt?: DeniedReceipt;
    },
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.code = code;
    this.limit = fields.limit;
    this.actual = fields.actual;
    this.receipt = fields.receipt;
  }
}

/** The connection is gone. Reaction: connect again. */
export class ClosedError extends Error {
  override readonly name = "ClosedError";
  readonly code: ClosedErrorCode;

  constructor(code: ClosedErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Nothing came in time. Reaction: retry. */
export class TimeoutError extends Error {
  override readonly name = "TimeoutError";
  readonly code: TimeoutErrorCode;
  /** How many milliseconds it waited. */
  readonly elapsedMs: number;

  constructor(code: TimeoutErrorCode, message: string, elapsedMs: number, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.elapsedMs = elapsedMs;
  }
}

/** The caller passed something impossible. Reaction: fix the call. */
export class ArgumentError extends TypeError {
  override readonly name = "ArgumentError";
  readonly code: ArgumentErrorCode;
  /** The name of the parameter. */
  readonly argument: string;

  constructor(code: ArgumentErrorCode, message: string, argument: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.argument = argument;
  }
}

/** The machine or a file of the administrator is not as it must be. Reaction: mend it, start again. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly code: ConfigErrorCode;
  /** The file, directory or socket that is wrong, if it is one. */
  readonly path: string | undefined;
  /** 1-based; undefined where the whole file is meant. */
  readonly line: number | undefined;
  /** 1-based. */
  readonly column: number | undefined;

  constructor(
    code: ConfigErrorCode,
    message: string,
    fields: { path?: string; line?: number; column?: number } = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.code = code;
    this.path = fields.path;
    this.line = fields.line;
    this.column = fields.column;
  }
}

/** The handler of a service failed on purpose or by an error. Reaction: as the service's docs say. */
export class ServiceError extends Error {
  override readonly name = "ServiceError";
  /** The service's own word for it; "FAILED" where its handler threw something without a code. */
  readonly code: string;
  /** The service that was called. */
  readonly topic: string | undefined;

  constructor(code: string, message: string, fields: { topic?: string } = {}) {
    super(message);
    this.code = code;
    this.topic = fields.topic;
  }
}

/** A received message or fd cannot be used as asked. Reaction: treat that message as lost. */
export class DataError extends Error {
  override readonly name: string = "DataError";
  readonly code: DataErrorCode;

  constructor(code: DataErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Messages are missing in this place. Reaction: catch up, and ask for the next message. */
export class GapError extends DataError {
  override readonly name: string = "GapError";
  /** Undefined: on several topics. */
  readonly topic: string | undefined;
  /** Undefined: nobody knows how many. */
  readonly count: number | undefined;
  /** As in the status event of the type "gap". */
  readonly reason: string;

  constructor(fields: { topic: string | undefined; count: number | undefined; reason: string }) {
    const where = fields.topic === undefined ? "several topics" : `"${fields.topic}"`;
    const count = fields.count ?? "An unknown number of";
    super("DATA_GAP", `${count} messages on ${where} are missing here: ${fields.reason}`);
    this.topic = fields.topic;
    this.count = fields.count;
    this.reason = fields.reason;
  }
}

/**
 * The classes of what may happen to a program that does nothing wrong. All but ArgumentError and
 * ConfigError: these are mistakes of whoever called or configured it.
 */
export const OPERATING_ERRORS = [
  ClosedError,
  DataError,
  LimitError,
  ProtocolError,
  RejectedError,
  ServiceError,
  SyscallError,
  TimeoutError,
] as const;
