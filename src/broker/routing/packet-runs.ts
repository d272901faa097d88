/**
 * The runs of one packet: neighbouring messages on one topic. Reads the header of each message and
 * stamps its origin; where the runs go is the router's to decide.
 *
 *   packet   [A][A][A][B][B][A]          A, B: topics
 *   runs     └──3──┘  └2─┘ └1┘           one record a change of topic
 *
 * Nothing is allocated for a message, or for a packet.
 */

import { assert } from "../../assert.ts";
import { kindWord } from "../../protocol/frame.ts";
import { FRAME_HEADER_BYTES, PACKET_FRAMES_MAX } from "../../protocol/limits.ts";
import { FLAGS_ENCODING_MASK, OPCODE } from "../../protocol/opcodes.ts";
import { type Connection, type OpenTopic, refuseTopicId } from "../connection.ts";

/** A kind word without its encoding bits equals PLAIN_KIND for a message without fds. */
const PLAIN_MASK = ~(FLAGS_ENCODING_MASK << 8);
const PLAIN_KIND = kindWord(OPCODE.MESSAGE, 0, 0);

/** No topic has this id. */
const NO_TOPIC = -1;

/** Stands in the place of the number of messages: there is one, and it is too large. */
export const TOO_LARGE = -1;

/** Numbers in one run record: first byte, messages. Behind the last run stands where it ends. */
const RUN_WORDS = 2;

/**
 * The runs found last; one object for all packets of a router, one after the other. It refers to the
 * topics of the longest packets until others take their places: PACKET_FRAMES_MAX of them at most.
 */
export class PacketRuns {
  readonly #records = new Int32Array(PACKET_FRAMES_MAX * RUN_WORDS + 1);
  readonly #topics: (OpenTopic | undefined)[] = new Array(PACKET_FRAMES_MAX).fill(undefined);
  /** How many there are. */
  count = 0;

  /**
   * Finds the runs of one stretch and stamps the sender's id on every message, also where it stops
   * before the end: a client's own origin means nothing, so whoever reads on loses nothing by it.
   * @returns where it stopped: at `end`, or at the first frame that is not a plain message or does
   *   not end inside the stretch
   */
  find(sender: Connection, words: Uint32Array, start: number, end: number): number {
    const origin = sender.id;
    const { openTopics } = sender;
    const records = this.#records;
    let count = 0;
    let topicId = NO_TOPIC;
    let messages = 0;
    let frameBytesMax = 0;
    let at = start;
    while (at < end) {
      const word = at >>> 2;
      const frameBytes = words[word] as number;
      const kind = words[word + 1] as number;
      if ((kind & PLAIN_MASK) !== PLAIN_KIND) break;
      if (frameBytes < FRAME_HEADER_BYTES || frameBytes > end - at) break;
      const id = words[word + 2] as number;
      words[word + 3] = origin;
      if (id !== topicId || frameBytes > frameBytesMax) {
        if (count > 0) records[count * RUN_WORDS - 1] = messages;
        records[count * RUN_WORDS] = at;
        const open = openTopics.get(id) ?? refuseTopicId(at);
        this.#topics[count] = open;
        frameBytesMax = open.messageBytesMax + FRAME_HEADER_BYTES;
        count += 1;
        topicId = id;
        messages = 0;
        if (frameBytes > frameBytesMax) {
          // It is a run of its own, and goes nowhere.
          topicId = NO_TOPIC;
          messages = TOO_LARGE - 1;
        }
      }
      messages += 1;
      at += (frameBytes + 7) & -8;
    }
    if (count > 0) records[count * RUN_WORDS - 1] = messages;
    records[count * RUN_WORDS] = at;
    this.count = count;
    return at;
  }

  /** The offset of the first byte of a run. */
  startOf(run: number): number {
    return this.#records[run * RUN_WORDS] as number;
  }

  /** The offset behind the last byte of a run. */
  endOf(run: number): number {
    return this.#records[(run + 1) * RUN_WORDS] as number;
  }

  /** How many messages a run has, or TOO_LARGE. */
  messagesOf(run: number): number {
    return this.#records[run * RUN_WORDS + 1] as number;
  }

  /** The topic of a run, as its sender opened it. */
  topicOf(run: number): OpenTopic {
    const open = this.#topics[run];
    assert(open !== undefined, "a run has a topic");
    return open;
  }
}
