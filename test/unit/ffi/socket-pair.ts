/** Two connected sockets for a test; `using` closes what is still open of them. */

import { OwnedFd } from "../../../src/ffi/owned-fd.ts";
import { openSeqpacketPair } from "../../../src/ffi/seqpacket.ts";

/** One side each; which is which makes no difference to the kernel. */
export class SocketPair {
  readonly near: OwnedFd;
  readonly far: OwnedFd;

  constructor() {
    const [near, far] = openSeqpacketPair();
    this.near = OwnedFd.adopt(near);
    this.far = OwnedFd.adopt(far);
  }

  [Symbol.dispose](): void {
    this.near.close();
    this.far.close();
  }
}
