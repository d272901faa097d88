/** The answer to HELLO: WELCOME, with the client's end of the fd lane where it asked for one. */

import { OwnedFd } from "../../ffi/owned-fd.ts";
import { openSeqpacketPair } from "../../ffi/seqpacket.ts";
import { setPassRights } from "../../ffi/socket-options.ts";
import type { ControlMap } from "../../protocol/control-body.ts";
import { type Hello, welcomeBody } from "../../protocol/control-messages.ts";
import { PROTOCOL_VERSION } from "../../protocol/limits.ts";
import { FEATURE_FD_LANE, FEATURE_HELD, FEATURE_PAUSE, OPCODE } from "../../protocol/opcodes.ts";
import { SOFTWARE } from "../../version.ts";
import type { Connection } from "../connection.ts";
import type { ControlSender } from "../routing/introductions.ts";
import { CONTROL_FRAME_BUFFER, encodeControlFrame } from "../sending/control-frames.ts";

/** PAUSE is taken from whoever says it: the bit only tells who asks that it is. */
const FEATURES_KNOWN = FEATURE_FD_LANE | FEATURE_HELD | FEATURE_PAUSE;

const NO_FDS: readonly number[] = [];

/**
 * Welcomes a client.
 * @param send queues a frame that carries no fds, for where the socket does not take it at once
 * @returns false where the client cannot get its lane; without one it would lose fds silently, so
 *   it must not be served
 * @throws {SyscallError} where no lane can be made, for want of fds or memory
 */
export function welcome(connection: Connection, hello: Hello, send: ControlSender): boolean {
  const features = hello.features & FEATURES_KNOWN;
  connection.wantsHeldWord = (features & FEATURE_HELD) !== 0;
  if ((features & FEATURE_FD_LANE) !== 0) return welcomeWithLane(connection, features);
  const frame = { opcode: OPCODE.WELCOME, id: 0, body: bodyOf(connection, features) };
  const bytes = encodeControlFrame(frame);
  const sent = connection.queue.sendNow(CONTROL_FRAME_BUFFER, bytes, NO_FDS);
  if (sent !== bytes) send(connection, frame);
  return true;
}

function welcomeWithLane(connection: Connection, features: number): boolean {
  const [ours, theirs] = openSeqpacketPair();
  connection.lane = OwnedFd.adopt(ours);
  // Nothing is ever read from a lane, so fds sent to us there would stay open.
  setPassRights(ours, false);
  using lent = OwnedFd.adopt(theirs);
  const body = bodyOf(connection, features);
  const bytes = encodeControlFrame({ opcode: OPCODE.WELCOME, fdCount: 1, id: 0, body });
  if (connection.queue.sendNow(CONTROL_FRAME_BUFFER, bytes, [lent.number]) !== bytes) return false;
  connection.queue.outlet.useLane(ours);
  return true;
}

function bodyOf(connection: Connection, features: number): ControlMap {
  const { uid, gid, pid } = connection.identity;
  return welcomeBody({
    protocol: PROTOCOL_VERSION,
    features,
    connection: connection.id,
    uid,
    gid,
    pid,
    software: SOFTWARE,
  });
}
