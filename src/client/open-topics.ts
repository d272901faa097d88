/**
 * The topics that a publisher has open, by name, with which were used last: a program that makes up
 * names as it goes must not keep every one of them open at the broker. Closing them is publisher.ts's.
 */

import { OPEN_TOPICS_MAX } from "./limits.ts";

/** One topic of a publisher. */
export interface OpenedTopic {
  readonly name: string;
  /** 0 until the broker has answered. */
  id: number;
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

  get size(): number {
    return this.#topics.size;
  }

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

  /** A topic that the broker has not answered for. */
  add(name: string): OpenedTopic {
    this.#clock += 1;
    const topic = { name, id: 0, denial: undefined, held: 0, usedAt: this.#clock };
    this.#topics.set(name, topic);
    return topic;
  }

  /** Every topic. */
  values(): IterableIterator<OpenedTopic> {
    return this.#topics.values();
  }

  /** Forgets all. */
  clear(): void {
    this.#topics.clear();
  }

  /** Forgets one topic, if it is still the one of its name. */
  forget(topic: OpenedTopic): void {
    if (this.#topics.get(topic.name) === topic) this.#topics.delete(topic.name);
  }

  /** Forgets what was denied: it is asked for again. */
  forgetDenials(): void {
    for (const topic of this.#topics.values()) if (topic.denial !== undefined) this.forget(topic);
  }

  /** Whether some should be closed before another one is opened. */
  get areTooMany(): boolean {
    return this.#topics.size >= OPEN_TOPICS_MAX;
  }

  /**
   * Forgets the half that was used longest ago, of those that nothing waits for.
   * @returns them; those with an id are open at the broker
   */
  takeIdle(): OpenedTopic[] {
    const idle = [...this.#topics.values()].filter(
      ({ id, denial, held }) => held === 0 && (id !== 0 || denial !== undefined),
    );
    idle.sort((a, b) => a.usedAt - b.usedAt);
    const taken = idle.slice(0, Math.ceil(idle.length / 2));
    for (const topic of taken) this.forget(topic);
    return taken;
  }
}
