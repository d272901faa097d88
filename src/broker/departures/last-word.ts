/**
 * Room in a client's socket for the last word, also where it does not read and the socket is full.
 * What that word is stands in fatal-frame.ts.
 */

import { sendPacket } from "../../ffi/seqpacket.ts";
import { getSendBufferBytes, setSendBufferBytes } from "../../ffi/socket-options.ts";
import { CONTROL_FRAME_BUFFER } from "../sending/control-frames.ts";
import { SOCKET_SEND_BUFFER_BYTES } from "../sending/limits.ts";
import { LAST_WORD_BYTES } from "./limits.ts";

/**
 * Gives a socket the buffer that all connections have, less what is kept for the last word.
 * @throws {SyscallError} EBADF, ENOTSOCK
 */
export function setSendBuffer(fd: number): void {
  setSendBufferBytes(fd, SOCKET_SEND_BUFFER_BYTES);
  // The kernel doubles it, and stops at net.core.wmem_max for who is not root.
  const attained = getSendBufferBytes(fd) / 2;
  const kept = attained - LAST_WORD_BYTES;
  if (attained < SOCKET_SEND_BUFFER_BYTES && kept > 0) setSendBufferBytes(fd, kept);
}

/**
 * Sends one control frame to a client whose socket is full: there is room for it beyond what the
 * broker uses otherwise. Whether it was taken is not told; the client is closed in any case.
 * @param bytes of the frame in CONTROL_FRAME_BUFFER
 */
export function sendLastWord(fd: number, bytes: number): void {
  setSendBufferBytes(fd, getSendBufferBytes(fd) / 2 + LAST_WORD_BYTES);
  sendPacket(fd, CONTROL_FRAME_BUFFER, 0, bytes);
}
