/**
 * RETAIN and CLEAR_RETAINED: whether a client may leave a last value, what it is told where not, and
 * the message itself, which is routed like any other before it is kept. The table is
 * retained-table.ts's, later subscribers are replay.ts's.
 */

import { ProtocolError } from "../../errors.ts";
import { copyPinned, movePinned, PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import { errorBody } from "../../protocol/control-messages.ts";
import {
  FRAME_ID_WORD,
  FRAME_KIND_WORD,
  FRAME_ORIGIN_WORD,
  fdCountOf,
  flagsOf,
  kindWord,
  paddedBytes,
  writeFrameHeader,
} from "../../protocol/frame.ts";
import { BODY_PREFIX_BYTES, FRAME_HEADER_BYTES } from "../../protocol/limits.ts";
import { FLAG_RETAINED, OPCODE } from "../../protocol/opcodes.ts";
import { clearRetainedAckBody, decodeClearRetained } from "../../protocol/service-messages.ts";
import { STATUS } from "../../protocol/status-codes.ts";
import { refusalOfName } from "../../protocol/topics.ts";
import type { Area, CarryOut, ClientFrame } from "../area.ts";
import { type Connection, type OpenTopic, openTopicOf } from "../connection.ts";
import { NEVER } from "../deadlines.ts";
import type { BrokerEventListener } from "../events.ts";
import type { FdIntake } from "../fds/fd-intake.ts";
import { bodyBytesOf, isTooLarge, tellTooLarge } from "../reading/message-limit.ts";
import { refusalMessage } from "../requests/refusal.ts";
import type { BusState } from "../routing/bus-state.ts";
import type { ControlSender } from "../routing/introductions.ts";
import type { Router } from "../routing/router.ts";
import { memoryBytesOf } from "../sending/frame-marks.ts";
import type { Replay } from "./replay.ts";
import { retainRefusalMessage } from "./retain-rules.ts";
import type { RetainedExcess, RetainedSize } from "./retained-charge.ts";
import type { RetainedTable } from "./retained-table.ts";
import { type Origin, shareFds } from "./retained-value.ts";

/** What the area is made from. */
export interface RetainedAreaParts {
  readonly state: BusState;
  readonly table: RetainedTable;
  readonly replay: Replay;
  readonly router: Router;
  readonly intake: FdIntake;
  readonly send: ControlSender;
  readonly onEvent: BrokerEventListener;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

/** A message that was a RETAIN: where it now stands in its packet. */
interface Routed {
  readonly offset: number;
  readonly paddedBytes: number;
}

/** Takes last values. One for a broker. */
export class RetainedArea implements Area {
  readonly opcodes: readonly number[] = [OPCODE.RETAIN, OPCODE.CLEAR_RETAINED];
  readonly #parts: RetainedAreaParts;
  /** Connections that left last values, while they live. */
  readonly #origins = new Map<Connection, Origin>();

  constructor(parts: RetainedAreaParts) {
    this.#parts = parts;
  }

  /** Area. @throws {ProtocolError} PROTOCOL_TOPIC_ID, PROTOCOL_FLAGS, PROTOCOL_REQUEST_ID */
  read(connection: Connection, frame: ClientFrame): CarryOut {
    if (frame.opcode === OPCODE.RETAIN) return this.#readRetain(connection, frame);
    if (frame.id === 0) {
      const message = "Cannot answer request: its id is 0";
      throw new ProtocolError("PROTOCOL_REQUEST_ID", message, frame.offset);
    }
    const { id, bytes, offset, frameBytes } = frame;
    const start = offset + FRAME_HEADER_BYTES;
    const { topic } = decodeClearRetained(bytes, start, offset + frameBytes);
    return () => this.#clear(connection, id, topic);
  }

  /** Area */
  leave(connection: Connection): undefined {
    this.#parts.replay.leave(connection);
    const origin = this.#origins.get(connection);
    if (origin !== undefined) origin.connection = undefined;
    this.#origins.delete(connection);
  }

  /** Area: a last value is no right, and stays when its sender's rights change. */
  refresh(): undefined {}

  #readRetain(connection: Connection, frame: ClientFrame): CarryOut {
    const open = openTopicOf(connection, frame.id, frame.offset);
    const prefix = (frame.offset + FRAME_HEADER_BYTES) >>> 2;
    if (frame.buffer.words[prefix + 1] !== 0) {
      const message = "Cannot retain message: the second number of its prefix is not 0";
      throw new ProtocolError("PROTOCOL_FLAGS", message, (prefix + 1) * 4);
    }
    return () => this.#retain(connection, open, frame);
  }

  #retain(connection: Connection, open: OpenTopic, frame: ClientFrame): void {
    const { table, now } = this.#parts;
    const size = sizeOf(open, frame);
    if (!this.#admits(connection, open, frame, size)) return;
    const keptMs = frame.buffer.words[(frame.offset + FRAME_HEADER_BYTES) >>> 2] as number;
    const message = toMessage(frame);
    const excessCopies = this.#route(connection, open, frame, message);
    if (excessCopies > 0) {
      return this.#parts.intake.refuseForQuota(connection, open.topic.name, excessCopies);
    }
    const kept = copyRetained(frame, message, connection.id);
    table.keep({
      topic: open.topic,
      origin: this.#originOf(connection),
      frame: kept,
      bundle: frame.bundle === undefined ? undefined : shareFds(frame.bundle),
      deadline: keptMs === 0 ? NEVER : now() + keptMs,
      account: connection.quota,
      size,
    });
  }

  /** Whether the message may be delivered and kept; where not, its sender has been told. */
  #admits(
    connection: Connection,
    open: OpenTopic,
    { buffer, offset, bundle }: ClientFrame,
    size: RetainedSize,
  ): boolean {
    const { state, table, intake } = this.#parts;
    if (!open.mayPublish) {
      connection.counters.denied += 1;
      return false;
    }
    const { name } = open.topic;
    const actual = bodyBytesOf(buffer.words, offset);
    if (isTooLarge(actual, open.messageBytesMax)) {
      connection.counters.denied += 1;
      tellTooLarge(this.#parts, connection, { topic: name, limit: open.messageBytesMax, actual });
      return false;
    }
    const refusal = state.retainRefusalOf(name);
    if (refusal?.mode === "enforce") {
      const message = retainRefusalMessage(name, refusal);
      this.#refuse(connection, "REJECTED_RETAIN", { topic: name, message, rule: refusal.place });
      return false;
    }
    if (bundle !== undefined && !intake.admits(connection, open, bundle, actual)) return false;
    const excess = table.excess(connection.quota, name, size);
    if (excess !== undefined) {
      const message = excessMessage(name, excess);
      const { limit, actual } = excess;
      this.#refuse(connection, "LIMIT_RETAINED", { topic: name, message, limit, actual });
      return false;
    }
    if (refusal !== undefined) {
      const use = { action: "publish" as const, topic: name };
      state.noteUse(connection, use, { wouldDeny: { rule: refusal.place } });
    }
    return true;
  }

  #refuse(
    connection: Connection,
    code: "REJECTED_RETAIN" | "LIMIT_RETAINED",
    about: { topic: string; message: string; rule?: string; limit?: number; actual?: number },
  ): void {
    connection.counters.denied += 1;
    const body = errorBody({ status: STATUS[code], ...about });
    this.#parts.send(connection, { opcode: OPCODE.ERROR, id: 0, body });
    const { id, identity } = connection;
    const { topic, rule, limit, actual } = about;
    const event = { connection: id, identity, topic, code, rule, limit, actual };
    this.#parts.onEvent({ type: "retain-refused", ...event });
  }

  /** @returns 0, or the copies of fds that are too many: then nobody was delivered anything */
  #route(
    connection: Connection,
    open: OpenTopic,
    { buffer, bundle }: ClientFrame,
    { offset, paddedBytes: bytes }: Routed,
  ): number {
    const { router } = this.#parts;
    if (bundle !== undefined) return router.routeWithFds(connection, open, buffer, bytes, bundle);
    router.routeStretch(connection, buffer, offset, offset + bytes);
    return 0;
  }

  #originOf(connection: Connection): Origin {
    const known = this.#origins.get(connection);
    if (known !== undefined) return known;
    const { id, identity } = connection;
    const origin: Origin = { id, identity, connection };
    this.#origins.set(connection, origin);
    return origin;
  }

  #clear(connection: Connection, requestId: number, topic: string): void {
    const { state, table, send, onEvent } = this.#parts;
    const message = refusalOfName(topic, "Cannot clear last value of");
    if (message !== undefined) {
      const status = STATUS.REJECTED_TOPIC_NAME;
      const body = errorBody({ status, message });
      return send(connection, { opcode: OPCODE.ERROR, id: requestId, body });
    }
    const { allowed, rule } = state.decide(connection, "publish", topic);
    if (!allowed) {
      const { id, identity } = connection;
      const message = refusalMessage(identity, "publish", topic, rule);
      const body = errorBody({ status: STATUS.REJECTED_BY_POLICY, message, topic, rule });
      send(connection, { opcode: OPCODE.ERROR, id: requestId, body });
      return onEvent({ type: "denied", connection: id, identity, action: "publish", topic, rule });
    }
    const body = clearRetainedAckBody({ cleared: table.clear(topic) });
    send(connection, { opcode: OPCODE.ACK, id: requestId, body });
  }
}

function sizeOf({ topic }: OpenTopic, { buffer, offset, frameBytes, bundle }: ClientFrame) {
  const message = paddedBytes(frameBytes - BODY_PREFIX_BYTES);
  const bytes = message + memoryBytesOf(buffer, offset) + topic.name.length;
  return { bytes, fds: bundle?.count ?? 0 };
}

/**
 * Makes a MESSAGE of a RETAIN, in its place: the prefix goes away. A frame with fds is alone in its
 * packet and must start it; of others the header moves, and the body stays.
 */
function toMessage({ buffer, offset, frameBytes, id, bundle }: ClientFrame): Routed {
  const { words } = buffer;
  const kind = words[(offset >>> 2) + FRAME_KIND_WORD] as number;
  const messageBytes = frameBytes - BODY_PREFIX_BYTES;
  const start = bundle === undefined ? offset + BODY_PREFIX_BYTES : offset;
  if (bundle !== undefined) {
    const bodyStart = offset + FRAME_HEADER_BYTES;
    const bodyBytes = messageBytes - FRAME_HEADER_BYTES;
    movePinned(buffer, bodyStart + BODY_PREFIX_BYTES, bodyStart, bodyBytes);
  }
  const messageKind = kindWord(OPCODE.MESSAGE, flagsOf(kind), fdCountOf(kind));
  writeFrameHeader(words, start >>> 2, messageBytes, messageKind, id, 0);
  return { offset: start, paddedBytes: paddedBytes(messageBytes) };
}

/** The message as later subscribers get it. */
function copyRetained({ buffer, id }: ClientFrame, message: Routed, origin: number): PinnedBuffer {
  const frame = new PinnedBuffer(message.paddedBytes);
  copyPinned(buffer, message.offset, frame, 0, message.paddedBytes);
  const kind = frame.words[FRAME_KIND_WORD] as number;
  frame.words[FRAME_KIND_WORD] = (kind | (FLAG_RETAINED << 8)) >>> 0;
  frame.words[FRAME_ID_WORD] = id;
  frame.words[FRAME_ORIGIN_WORD] = origin;
  return frame;
}

function excessMessage(topic: string, { what, actual, limit }: RetainedExcess): string {
  return `Cannot keep a last value of "${topic}": it would be ${actual} ${what}, limit is ${limit}`;
}
