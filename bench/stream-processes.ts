/**
 * A publisher and observing subscribers that run until they are told to stop, for scenarios in which
 * something else happens meanwhile.
 */

import { closeFd, OwnedFd } from "../src/ffi/owned-fd.ts";
import { openSeqpacketPair } from "../src/ffi/seqpacket.ts";
import { RoleProcess } from "./role-process.ts";
import type { ObservedReport, WorkOrder } from "./work-order.ts";

/** One report of each subscriber. */
export type ObservedReports = readonly [ObservedReport, ...ObservedReport[]];

/** A stream of messages under way. Disposing of it ends its processes. */
export class StreamProcesses implements AsyncDisposable {
  readonly #subscribers: readonly RoleProcess[];
  readonly #publisher: RoleProcess;
  readonly #stop: OwnedFd;

  private constructor(subscribers: readonly RoleProcess[], publisher: RoleProcess, stop: OwnedFd) {
    this.#subscribers = subscribers;
    this.#publisher = publisher;
    this.#stop = stop;
  }

  /** Starts all of them; when it is back messages have come to every subscriber. */
  static async start(order: WorkOrder): Promise<StreamProcesses> {
    const stream = await StreamProcesses.#spawn(order);
    try {
      await Promise.all(stream.#subscribers.map((subscriber) => subscriber.expect("streaming")));
      return stream;
    } catch (error) {
      await stream[Symbol.asyncDispose]();
      throw error;
    }
  }

  static async #spawn(order: WorkOrder): Promise<StreamProcesses> {
    // Of each credit pair the first end is the subscriber's.
    const pairs = Array.from({ length: order.subscribers }, () => openSeqpacketPair());
    const [stop, stopPeer] = openSeqpacketPair();
    const subscribers = pairs.map(
      ([credit]) => new RoleProcess("roles/raw-observer.ts", order, { fds: [credit] }),
    );
    try {
      await Promise.all(subscribers.map((subscriber) => subscriber.expect("ready")));
      const fds = [...pairs.map(([, creditPeer]) => creditPeer), stopPeer];
      const publisher = new RoleProcess("roles/raw-stream.ts", order, { fds });
      return new StreamProcesses(subscribers, publisher, OwnedFd.adopt(stop));
    } catch (error) {
      for (const subscriber of subscribers) await subscriber[Symbol.asyncDispose]();
      closeFd(stop);
      throw error;
    } finally {
      for (const fd of [...pairs.flat(), stopPeer]) closeFd(fd);
    }
  }

  /**
   * Ends the stream.
   * @throws {Error} where a message was lost, or a process failed
   */
  async finish(): Promise<ObservedReports> {
    this.#stop.close();
    const { messages } = await this.#publisher.expect("published");
    const [first, ...others] = await Promise.all(
      this.#subscribers.map((subscriber) => subscriber.expect("observed")),
    );
    if (first === undefined) throw new Error("A stream has a subscriber");
    for (const observed of [first, ...others]) {
      if (observed.messages !== messages) throw new Error("Messages were lost");
    }
    return [first, ...others];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.close();
    await this.#publisher[Symbol.asyncDispose]();
    for (const subscriber of this.#subscribers) await subscriber[Symbol.asyncDispose]();
  }
}
