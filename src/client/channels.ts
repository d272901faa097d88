/** Opening private channels, and taking those that others open to services of this bus. */

import { type LimitError, ProtocolError, SyscallError } from "../errors.ts";
import { closeFd, OwnedFd } from "../ffi/owned-fd.ts";
import { CHANNEL_FDS } from "../protocol/limits.ts";
import { OPCODE } from "../protocol/opcodes.ts";
import { type ChannelBody, openChannelBody } from "../protocol/service-messages.ts";
import { Channel, type ChannelEnds } from "./channel.ts";
import { fdShortage } from "./fd-shortage.ts";
import type { Sender } from "./message.ts";
import type { Waiter } from "./pending-requests.ts";
import type { Server } from "./server.ts";
import type { ServiceLink } from "./service-link.ts";
import { checkTopicArgument } from "./topic-argument.ts";

/** Choices for openChannel(). */
export interface OpenChannelOptions {
  /** Aborting ends the waiting. The channel itself does not obey it. */
  readonly signal?: AbortSignal;
}

/** What the broker gave for one channel. */
interface GivenChannel {
  readonly peer: Sender;
  readonly ends: ChannelEnds;
}

/** Waits for a CHANNEL in place of an ACK. */
class ChannelWaiter implements Waiter {
  readonly accept: (given: GivenChannel) => void;
  readonly reject: (error: Error) => void;

  constructor(accept: (given: GivenChannel) => void, reject: (error: Error) => void) {
    this.accept = accept;
    this.reject = reject;
  }

  resolve(): never {
    const message = "Cannot take answer: a channel was asked for, and an ACK came";
    throw new ProtocolError("PROTOCOL_REQUEST_ID", message);
  }
}

/** All channels of a bus, until they are open. */
export class Channels {
  readonly #link: ServiceLink;
  readonly #server: Server;

  constructor(link: ServiceLink, server: Server) {
    this.#link = link;
    this.#server = server;
  }

  /** See Bus.openChannel(). */
  async open(name: string, { signal }: OpenChannelOptions = {}): Promise<Channel> {
    checkTopicArgument(name, "Cannot open a channel to", "service");
    signal?.throwIfAborted();
    await unlessAborted(this.#link.ready(), signal);
    const { promise, resolve, reject } = Promise.withResolvers<GivenChannel>();
    const body = openChannelBody({ service: name });
    const id = this.#link.post(OPCODE.OPEN_CHANNEL, body, new ChannelWaiter(resolve, reject));
    const onAbort = () => {
      this.#link.pending.remove(id);
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", onAbort);
    try {
      const { peer, ends } = await promise;
      return await Channel.open(name, peer, ends);
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /**
   * A CHANNEL came.
   * @param id request id; 0 where somebody opened it to a service of this bus
   * @param fds handed over
   */
  onChannel(id: number, body: ChannelBody, fds: readonly number[]): void {
    const waiter = this.#link.pending.find(id);
    const ends = endsOf(fds);
    if (ends === undefined) {
      if (!(waiter instanceof ChannelWaiter)) return this.#noteLost(body.service);
      this.#link.pending.remove(id);
      return waiter.reject(fdsLost(body.service));
    }
    const peer = this.#peerOf(body, ends);
    if (waiter instanceof ChannelWaiter) {
      this.#link.pending.remove(id);
      waiter.accept({ peer, ends });
    } else if (id === 0) void this.#acceptFrom(peer, body.service, ends);
    else closeEnds(ends);
  }

  /** @throws {ProtocolError} PROTOCOL_STATE where the broker did not say who it is; both are closed */
  #peerOf({ peer }: ChannelBody, ends: ChannelEnds): Sender {
    try {
      return this.#link.senderOf(peer);
    } catch (error) {
      closeEnds(ends);
      throw error;
    }
  }

  async #acceptFrom(peer: Sender, name: string, ends: ChannelEnds): Promise<void> {
    const service = this.#server.find(name);
    if (service === undefined) return closeEnds(ends);
    try {
      service.acceptChannel(await Channel.open(name, peer, ends));
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      this.#noteLost(name);
    }
  }

  #noteLost(name: string): void {
    this.#link.noteStatus({ type: "fds-lost", topic: name, count: CHANNEL_FDS });
  }
}

/** Waits for a promise, but not beyond the moment in which the signal is aborted. */
async function unlessAborted(promise: Promise<void>, signal?: AbortSignal): Promise<void> {
  if (signal === undefined) return await promise;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort);
  try {
    await Promise.race([promise, aborted]);
    signal.throwIfAborted();
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** @returns undefined where one is missing; what came is closed then */
function endsOf(fds: readonly number[]): ChannelEnds | undefined {
  const [packets, lane] = fds;
  if (packets === undefined || lane === undefined) {
    for (const fd of fds) closeFd(fd);
    return undefined;
  }
  const adopt = (fd: number) => OwnedFd.adopt(fd, { allowStandard: true });
  return { packets: adopt(packets), lane: adopt(lane) };
}

function closeEnds({ packets, lane }: ChannelEnds): void {
  packets.close();
  lane.close();
}

function fdsLost(name: string): LimitError {
  const message = `Cannot open a channel to "${name}": this process may hold no more fds`;
  return fdShortage(message, CHANNEL_FDS);
}
