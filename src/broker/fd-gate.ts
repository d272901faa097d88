/**
 * Keeps fds out of connections that may send none. Where the kernel can do that (Linux 6.16), a
 * client without the right gets EPERM from its own sendmsg(2), and no file of its ever gets here:
 * closing one could block, and even a message that nobody reads holds it.
 *
 * The listener must have SO_PASSRIGHTS off, so that a connection starts shut. A right that is denied
 * in this way never reaches the broker, so it is neither counted nor logged.
 */

import { setPassRights } from "../ffi/socket-options.ts";
import type { Connection } from "./connection.ts";

/** Opens and shuts connections for fds. */
export class FdGate {
  readonly #isEffective: boolean;

  /** @param isEffective whether the kernel can keep fds out; otherwise nothing is done here */
  constructor(isEffective: boolean) {
    this.#isEffective = isEffective;
  }

  /**
   * Lets fds in from now on, or no more. What was sent before still comes.
   * @param isOpen whether the connection may send fds on any topic that it has open
   */
  set(connection: Connection, isOpen: boolean): void {
    if (!this.#isEffective || connection.takesFds === isOpen) return;
    setPassRights(connection.socket.number, isOpen);
    connection.takesFds = isOpen;
  }
}
