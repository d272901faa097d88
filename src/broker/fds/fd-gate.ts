/**
 * Keeps fds out of connections that may publish, call and serve nothing. Where the kernel can do that (Linux 6.16),
 * such a client gets EPERM from its own sendmsg(2), and no file of its ever gets here: closing one
 * could block, and even a message that nobody reads holds it.
 *
 * Whoever may do so is let in, with or without the right to send fds, because large bodies travel
 * as fds too and take no such right; fd-intake.ts looks at what comes.
 *
 * The listener must have SO_PASSRIGHTS off, so that a connection starts shut.
 */

import { setPassRights } from "../../ffi/socket-options.ts";
import type { Connection } from "../connection.ts";

/** Opens and shuts connections for fds. */
export class FdGate {
  /** Whether the kernel can keep fds out. */
  readonly isEffective: boolean;

  /** @param isEffective whether the kernel can keep fds out; otherwise nothing is done here */
  constructor(isEffective: boolean) {
    this.isEffective = isEffective;
  }

  /**
   * Lets fds in from now on, or no more. What was sent before still comes.
   * @param isOpen whether the connection may publish on any topic that it has open, or call or serve
   */
  set(connection: Connection, isOpen: boolean): void {
    if (!this.isEffective || connection.takesFds === isOpen) return;
    setPassRights(connection.socket.number, isOpen);
    connection.takesFds = isOpen;
  }
}
