/**
 * The topics that a publisher has open, by name, with which were used last: a program that makes up
 * names as it goes must not keep every one of them open at the broker. Asking for them and closing
 * them is publisher.ts's.
 */

import { OPEN_TOPICS_MAX } from "./limits.ts";

/** One topic of a publisher. */
export interface OpenedTopic {
  readonly name: string;
  /** 0 until the broker has answered. */
  id: number;
  /** It was asked for on this connection: it takes one of the places there. */
  isAsked: boolean;
  /** Why nothing can be published here. */
  denial: Error | undefined;
  /** Messages that wait for an answer about a topic; it stays while there are any. */
  held: number;
  /** Greater for topics that were used later. */
  usedAt: number;
}

/** Topics by name. */
export class OpenTopics {
  readonly #topics = new Map<string, OpenedTopic>();
  #clock = 0;
  #asked = 0;
  #askedMax = OPEN_TOPICS_MAX;
  /** Topics from which on those that nothing came of are looked for. */
  #sweepAt = OPEN_TOPICS_MAX;

  /** The topic of this name, used now. */
  use(name: string): OpenedTopic | undefined {
    const topic = this.#topics.get(name);
    this.#clock += 1;
    if (topic !== undefined) topic.usedAt = this.#clock;
    return topic;
  }

  /** The topic of this name, not used by that. */
  find(name: string): OpenedTopic | undefined {
    return this.#topics.get(name);
  }

  /** A topic that the broker was not asked for. */
  add(name: string): OpenedTopic {
    if (this.#topics.size >= this.#sweepAt) this.#sweep();
    this.#clock += 1;
    const topic = {
      name,
      id: 0,
      isAsked: false,
      denial: undefined,
      held: 0,
      usedAt: this.#clock,
    };
    this.#topics.set(name, topic);
    return topic;
  }

  /** Forgets all. */
  clear(): void {
    this.#topics.clear();
    this.#asked = 0;
    this.#askedMax = OPEN_TOPICS_MAX;
  }

  /** Forgets one topic, if it is still the one of its name. */
  forget(topic: OpenedTopic): void {
    this.#release(topic);
    if (this.#topics.get(topic.name) === topic) this.#topics.delete(topic.name);
  }

  /** Forgets what was denied, and how much room there was: it is asked for again. */
  forgetDenials(): void {
    this.#askedMax = OPEN_TOPICS_MAX;
    for (const topic of this.#topics.values()) if (topic.denial !== undefined) this.forget(topic);
  }

  /** Whether another one may be asked for without closing any. */
  get hasRoom(): boolean {
    return this.#asked < this.#askedMax;
  }

  /** It is asked for. */
  noteAsked(topic: OpenedTopic): void {
    topic.isAsked = true;
    this.#asked += 1;
  }

  /** Nothing can be published there. */
  noteDenied(topic: OpenedTopic, denial: Error): void {
    this.#release(topic);
    topic.denial = denial;
  }

  /**
   * The broker had no room for one.
   * @returns whether it is to be asked for again: there are others, which can be closed for it
   */
  noteRefused(topic: OpenedTopic): boolean {
    this.#release(topic);
    if (this.#asked === 0 || topic.held === 0) return false;
    this.#askedMax = this.#asked;
    return true;
  }

  /**
   * Forgets the half that was used longest ago, of those that nothing waits for.
   * @returns the broker's numbers of them
   */
  takeIdle(): number[] {
    const taken = this.#oldestHalf(({ id, held }) => held === 0 && id !== 0);
    const ids = taken.map(({ id }) => id);
    for (const topic of taken) this.forget(topic);
    return ids;
  }

  /**
   * Gives up the places of the half that was used longest ago, of those that messages wait for. They
   * stay, to be asked for again.
   * @returns the broker's numbers of them
   */
  takeHeld(): number[] {
    const taken = this.#oldestHalf(({ id, held }) => held > 0 && id !== 0);
    const ids = taken.map(({ id }) => id);
    for (const topic of taken) this.#release(topic);
    return ids;
  }

  #oldestHalf(isMeant: (topic: OpenedTopic) => boolean): OpenedTopic[] {
    const meant = [...this.#topics.values()].filter(isMeant);
    meant.sort((a, b) => a.usedAt - b.usedAt);
    return meant.slice(0, Math.ceil(meant.length / 2));
  }

  /** Of some topics nothing has come: they were denied, or what was to be published was refused here. */
  #sweep(): void {
    for (const topic of this.#topics.values()) {
      if (!topic.isAsked && topic.held === 0) this.#topics.delete(topic.name);
    }
    this.#sweepAt = Math.max(OPEN_TOPICS_MAX, 2 * this.#topics.size);
  }

  #release(topic: OpenedTopic): void {
    if (topic.isAsked) this.#asked -= 1;
    topic.isAsked = false;
    topic.id = 0;
  }
}
