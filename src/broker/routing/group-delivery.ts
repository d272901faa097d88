/**
 * Messages to queue groups: which member takes which. A run is cut into shares, one for each member
 * that can be compared, and each share goes to whoever has the least to read: waiting here, or
 * unread in the socket. So quick members get more, and one that stopped gets nothing more.
 *
 *   run of 10, three members, c has not read    a: 1-4   b: 5-8   a: 9-10
 *
 * What one member gets of a run is neighbouring messages, sent in one copy. Touches no socket; the
 * kernel's figure is handed in.
 */

import type { PinnedBuffer } from "../../ffi/pinned-buffer.ts";
import type { Connection } from "../connection.ts";
import type { FdBundle } from "../fds/fd-bundle.ts";
import { QUEUE_FULL } from "../sending/queue-outcomes.ts";
import { deliverPlanned, GETS_NOTHING, type GroupShare } from "./fd-plan.ts";
import { GROUP_CANDIDATES } from "./limits.ts";
import type { RouteGroup } from "./route.ts";
import type { GroupTopic } from "./topic-table.ts";

const ID_WORD = 2;

/** What group delivery needs of whoever publishes; `Sender` is what that one knows its senders by. */
export interface GroupDeliveryHost<Sender> {
  /** Bytes that a client has not read of what was sent to it. */
  unreadBytes(connection: Connection): number;
  /** Books what became of messages for one member. */
  settle(
    sender: Sender,
    member: Connection,
    outcome: number,
    messages: number,
    bytes: number,
  ): void;
}

/** Shares messages out among the members of groups. Not reentrant. */
export class GroupDelivery<Sender> {
  readonly #host: GroupDeliveryHost<Sender>;
  /** What each member has to read, by its place in the group; -1 where nobody has looked. */
  readonly #loads: number[] = [];

  constructor(host: GroupDeliveryHost<Sender>) {
    this.#host = host;
  }

  /**
   * Shares out a run of messages without fds. Its topic ids are overwritten.
   * @param messages how many there are from `start` to `end`
   */
  deliverRun(
    sender: Sender,
    group: RouteGroup,
    buffer: PinnedBuffer,
    { start, end, messages }: { start: number; end: number; messages: number },
  ): void {
    const { topic, members } = group;
    if (topic === undefined) return this.#loseAll(sender, members, messages);
    this.#forgetLoads(members.length);
    const share = Math.ceil(messages / Math.min(members.length, GROUP_CANDIDATES * 4));
    for (let at = start; at < end; ) {
      let count = 0;
      let next = at;
      while (count < share && next < end) {
        buffer.words[(next >>> 2) + ID_WORD] = topic.id;
        next += ((buffer.words[next >>> 2] as number) + 7) & -8;
        count += 1;
      }
      const member = this.#choose(sender, topic, members, next - at);
      const outcome = member.queue.deliver(buffer, at, next - at);
      this.#host.settle(sender, member, outcome, count, next - at);
      at = next;
    }
  }

  /**
   * Gives one message with fds to one member; the topic id in the buffer is as before afterwards.
   * @param share who is asked, and what that one gets
   * @returns whether anybody got it, or should have
   */
  deliverWithFds(
    sender: Sender,
    { group, gets, members }: GroupShare,
    message: { buffer: PinnedBuffer; frameBytes: number; bundle: FdBundle },
  ): boolean {
    const { topic } = group;
    if (gets === GETS_NOTHING) return false;
    if (topic === undefined) {
      this.#loseAll(sender, members, 1);
      return true;
    }
    const { buffer, frameBytes, bundle } = message;
    const plainId = buffer.words[ID_WORD] as number;
    this.#forgetLoads(members.length);
    const member = this.#choose(sender, topic, members, frameBytes);
    buffer.words[ID_WORD] = topic.id;
    const outcome = deliverPlanned(member.queue, gets, buffer, frameBytes, bundle);
    buffer.words[ID_WORD] = plainId;
    this.#host.settle(sender, member, outcome, 1, frameBytes);
    return true;
  }

  /** Nobody gets messages of a group without an id: its first member is told. */
  #loseAll(sender: Sender, members: readonly Connection[], messages: number): void {
    const [member] = members;
    if (member === undefined) return;
    member.queue.losses.recordUntold(messages);
    this.#host.settle(sender, member, QUEUE_FULL, messages, 0);
  }

  /**
   * The member that takes the next share: of those that can be sent to and want more, the one with the least to
   * read; else of those with room, the one with the least waiting; else the one on turn, whose loss
   * it is. Equals take turns. A pause is not for a member's own messages, as in the router.
   */
  #choose(
    sender: Sender,
    topic: GroupTopic,
    members: readonly Connection[],
    bytes: number,
  ): Connection {
    const count = members.length;
    let best = -1;
    let bestLoad = Number.POSITIVE_INFINITY;
    let compared = 0;
    let fallback = -1;
    for (let step = 0; step < count && compared < GROUP_CANDIDATES; step += 1) {
      const place = (topic.turn + step) % count;
      const member = members[place] as Connection;
      const { queue } = member;
      const isPausing = member.isPausing && (member as unknown) !== sender;
      if (!queue.hasRoomFor(bytes)) continue;
      if (queue.blockedFd >= 0 || isPausing) {
        if (fallback < 0 || queue.queuedBytes < this.#queuedBytes(members, fallback)) {
          fallback = place;
        }
        continue;
      }
      compared += 1;
      const load = this.#loadOf(members, place);
      if (load >= bestLoad) continue;
      best = place;
      bestLoad = load;
    }
    const chosen = best >= 0 ? best : fallback >= 0 ? fallback : topic.turn % count;
    if (best >= 0) this.#loads[chosen] = bestLoad + bytes;
    topic.turn = (chosen + 1) % count;
    return members[chosen] as Connection;
  }

  /** In place: this is done for each run and each message with fds. */
  #forgetLoads(members: number): void {
    for (let place = 0; place < members; place += 1) this.#loads[place] = -1;
  }

  #queuedBytes(members: readonly Connection[], place: number): number {
    return members[place]?.queue.queuedBytes ?? 0;
  }

  /** Looked up once for a run; what is added meanwhile is counted here. */
  #loadOf(members: readonly Connection[], place: number): number {
    const known = this.#loads[place] as number;
    if (known >= 0) return known;
    const member = members[place] as Connection;
    const load = member.queue.queuedBytes + this.#host.unreadBytes(member);
    this.#loads[place] = load;
    return load;
  }
}
