/**
 * A publisher and an observing subscriber that run until they are told to stop, for scenarios in
 * which something else happens meanwhile.
 */

import { closeFd, OwnedFd } from "../src/ffi/owned-fd.ts";
import { openSeqpacketPair } from "../src/ffi/seqpacket.ts";
import { RoleProcess } from "./role-process.ts";
import type { ObservedReport, WorkOrder } from "./work-order.ts";

/** A stream of messages under way. Disposing of it ends its processes. */
export class StreamProcesses implements AsyncDisposable {
  readonly #subscriber: RoleProcess;
  readonly #publisher: RoleProcess;
  readonly #stop: OwnedFd;

  private constructor(subscriber: RoleProcess, publisher: RoleProcess, stop: OwnedFd) {
    this.#subscriber = subscriber;
    this.#publisher = publisher;
    this.#stop = stop;
  }

  /** Starts both; messages flow soon after. */
  static async start(order: WorkOrder): Promise<StreamProcesses> {
    const [credit, creditPeer] = openSeqpacketPair();
    const [stop, stopPeer] = openSeqpacketPair();
    const subscriber = new RoleProcess("roles/raw-observer.ts", order, { fds: [credit] });
    try {
      await subscriber.expect("ready");
      const fds = [creditPeer, stopPeer];
      const publisher = new RoleProcess("roles/raw-stream.ts", order, { fds });
      return new StreamProcesses(subscriber, publisher, OwnedFd.adopt(stop));
    } catch (error) {
      await subscriber[Symbol.asyncDispose]();
      closeFd(stop);
      throw error;
    } finally {
      for (const fd of [credit, creditPeer, stopPeer]) closeFd(fd);
    }
  }

  /**
   * Ends the stream.
   * @throws {Error} where a message was lost, or a process failed
   */
  async finish(): Promise<ObservedReport> {
    this.#stop.close();
    const { messages } = await this.#publisher.expect("published");
    const observed = await this.#subscriber.expect("observed");
    if (observed.messages !== messages) throw new Error("Messages were lost");
    return observed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.close();
    await this.#publisher[Symbol.asyncDispose]();
    await this.#subscriber[Symbol.asyncDispose]();
  }
}
