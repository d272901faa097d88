/**
 * Finds the `[[topic]]` setting that counts for a topic, key by key.
 *
 * Of the settings that have the key and match the topic, the one with the narrowest pattern counts:
 * token by token from the left, a name is narrower than `*`, and `*` than `>`. Two patterns that
 * match one topic always differ so, and a pattern stands in one setting only, so there is exactly
 * one such setting, and the order of files and tables never matters.
 *
 *     camera.front.frames   before   camera.*.frames   before   camera.>   before   >
 */

import { isReservedTopic, splitTokens } from "../../protocol/topics.ts";
import type { TopicSetting } from "./rules.ts";

/** What a setting can set. */
export type SettingKey = Exclude<keyof TopicSetting, "path" | "line" | "topics">;

interface Node {
  /** By token; `*` is one of them. */
  readonly children: Map<string, Node>;
  /** The setting whose pattern ends here. */
  exact: TopicSetting | undefined;
  /** The setting whose pattern goes on with `>`. */
  rest: TopicSetting | undefined;
}

/** What is looked for. */
interface Search {
  readonly tokens: readonly string[];
  readonly key: SettingKey;
  /** No wildcard stands for the first token of a topic of the bus. */
  readonly isReserved: boolean;
}

/** The settings of one policy. */
export class SettingIndex {
  readonly #root = makeNode();

  /** @param settings no pattern stands in two of them */
  constructor(settings: readonly TopicSetting[]) {
    for (const setting of settings) {
      for (const pattern of setting.topics) this.#add(pattern, setting);
    }
  }

  /**
   * Finds the setting that says what a key is on a topic.
   * @param topic a valid topic name
   * @returns a setting that has the key; undefined where none that matches has it
   */
  find(topic: string, key: SettingKey): TopicSetting | undefined {
    const search = { tokens: splitTokens(topic), key, isReserved: isReservedTopic(topic) };
    return find(this.#root, 0, search);
  }

  #add(pattern: string, setting: TopicSetting): void {
    let node = this.#root;
    for (const token of splitTokens(pattern)) {
      if (token === ">") {
        node.rest = setting;
        return;
      }
      let child = node.children.get(token);
      if (child === undefined) {
        child = makeNode();
        node.children.set(token, child);
      }
      node = child;
    }
    node.exact = setting;
  }
}

function makeNode(): Node {
  return { children: new Map(), exact: undefined, rest: undefined };
}

/** Narrower patterns come first, so the first that has the key is the one that counts. */
function find(node: Node, depth: number, search: Search): TopicSetting | undefined {
  const token = search.tokens[depth];
  if (token === undefined) return having(node.exact, search.key);
  const named = findIn(node.children.get(token), depth + 1, search);
  if (named !== undefined || (search.isReserved && depth === 0)) return named;
  return findIn(node.children.get("*"), depth + 1, search) ?? having(node.rest, search.key);
}

function findIn(node: Node | undefined, depth: number, search: Search): TopicSetting | undefined {
  return node === undefined ? undefined : find(node, depth, search);
}

function having(setting: TopicSetting | undefined, key: SettingKey): TopicSetting | undefined {
  return setting?.[key] === undefined ? undefined : setting;
}
