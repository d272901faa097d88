/**
 * A tree of topic patterns, one token a level, that finds the first entry whose pattern covers or
 * intersects another without trying each.
 *
 * Entries are numbers that grow from one add() to the next; "first" is the smallest. A node knows
 * the smallest entry below it and its children stand in the order of theirs, so that a search
 * leaves out whatever cannot beat what it has found.
 *
 *     sensors.>      root ─ sensors ─ rest: [0]
 *     sensors.*.raw                └─ * ─ raw ─ exact: [1]
 */

import { isReservedTopic, splitTokens } from "../../protocol/topics.ts";

interface Node {
  /** The smallest entry at or below this node. */
  readonly first: number;
  /** The first child, if it is the only one: most nodes have no second, and a Map is large. */
  onlyToken: string | undefined;
  onlyChild: Node | undefined;
  /** All children, from the second on. */
  children: Map<string, Node> | undefined;
  star: Node | undefined;
  /** Entries whose pattern ends here. */
  exact: number[] | undefined;
  /** Entries whose pattern goes on with `>`. */
  rest: number[] | undefined;
}

/** What is looked for. */
export interface PatternQuery {
  /** Of a topic name or pattern, in order. */
  readonly tokens: readonly string[];
  /** Asked of an entry whose pattern fits, smallest first in each list. */
  readonly accepts: (entry: number) => boolean;
}

/** Patterns with the entries they belong to. */
export class PatternTrie {
  readonly #plain = makeNode(0);
  /** Names of the bus have a tree of their own: no wildcard at the root stands for their `$`. */
  readonly #reserved = makeNode(0);

  /**
   * Adds an entry under a pattern.
   * @param pattern well-formed
   * @param entry not smaller than any that was added before
   */
  add(pattern: string, entry: number): void {
    let node = this.#rootOf(pattern);
    for (const token of splitTokens(pattern)) {
      if (token === ">") {
        node.rest = append(node.rest, entry);
        return;
      }
      node = enter(node, token, entry);
    }
    node.exact = append(node.exact, entry);
  }

  /**
   * Finds the first entry with a pattern that covers the one asked for; for a topic name, that
   * matches it.
   * @param before only smaller entries are of interest
   * @returns the entry, or `before` where there is none
   */
  firstCovering(query: PatternQuery, before: number): number {
    return firstCovering(this.#rootOf(query.tokens[0] ?? ""), 0, query, before);
  }

  /**
   * Finds the first entry with a pattern that has a topic in common with the one asked for.
   * @param before only smaller entries are of interest
   * @returns the entry, or `before` where there is none
   */
  firstIntersecting(query: PatternQuery, before: number): number {
    return firstIntersecting(this.#rootOf(query.tokens[0] ?? ""), 0, query, before);
  }

  #rootOf(pattern: string): Node {
    return isReservedTopic(pattern) ? this.#reserved : this.#plain;
  }
}

function makeNode(first: number): Node {
  return {
    first,
    onlyToken: undefined,
    onlyChild: undefined,
    children: undefined,
    star: undefined,
    exact: undefined,
    rest: undefined,
  };
}

function append(list: number[] | undefined, entry: number): number[] {
  if (list === undefined) return [entry];
  list.push(entry);
  return list;
}

/** The node for one more token, made if it is not there. */
function enter(node: Node, token: string, entry: number): Node {
  if (token === "*") {
    node.star ??= makeNode(entry);
    return node.star;
  }
  const known = childOf(node, token);
  if (known !== undefined) return known;
  const child = makeNode(entry);
  if (node.children !== undefined) {
    node.children.set(token, child);
  } else if (node.onlyToken === undefined || node.onlyChild === undefined) {
    node.onlyToken = token;
    node.onlyChild = child;
  } else {
    node.children = new Map([[node.onlyToken, node.onlyChild]]).set(token, child);
    node.onlyToken = undefined;
    node.onlyChild = undefined;
  }
  return child;
}

function childOf(node: Node, token: string): Node | undefined {
  return node.onlyToken === token ? node.onlyChild : node.children?.get(token);
}

function firstCovering(node: Node, depth: number, query: PatternQuery, before: number): number {
  if (node.first >= before) return before;
  const token = query.tokens[depth];
  if (token === undefined) return firstAccepted(node.exact, query, before);
  let first = firstAccepted(node.rest, query, before);
  if (token === ">") return first;
  if (node.star !== undefined) first = firstCovering(node.star, depth + 1, query, first);
  const child = token === "*" ? undefined : childOf(node, token);
  return child === undefined ? first : firstCovering(child, depth + 1, query, first);
}

function firstIntersecting(node: Node, depth: number, query: PatternQuery, before: number): number {
  if (node.first >= before) return before;
  const token = query.tokens[depth];
  if (token === undefined) return firstAccepted(node.exact, query, before);
  let first = firstAccepted(node.rest, query, before);
  const next = token === ">" ? firstBelow : firstIntersecting;
  if (node.star !== undefined) first = next(node.star, depth + 1, query, first);
  if (token === "*" || token === ">") return firstInChildren(node, depth, query, first, next);
  const child = childOf(node, token);
  return child === undefined ? first : firstIntersecting(child, depth + 1, query, first);
}

/** Everything at and below a node fits. */
function firstBelow(node: Node, depth: number, query: PatternQuery, before: number): number {
  if (node.first >= before) return before;
  let first = firstAccepted(node.exact, query, before);
  first = firstAccepted(node.rest, query, first);
  if (node.star !== undefined) first = firstBelow(node.star, depth + 1, query, first);
  return firstInChildren(node, depth, query, first, firstBelow);
}

type Walk = typeof firstIntersecting;

/** All children but that of `*`, in the order of their first entries. */
function firstInChildren(
  node: Node,
  depth: number,
  query: PatternQuery,
  before: number,
  walk: Walk,
): number {
  if (node.onlyChild !== undefined) return walk(node.onlyChild, depth + 1, query, before);
  let first = before;
  for (const child of node.children?.values() ?? []) {
    if (child.first >= first) break;
    first = walk(child, depth + 1, query, first);
  }
  return first;
}

function firstAccepted(
  entries: readonly number[] | undefined,
  query: PatternQuery,
  before: number,
): number {
  if (entries === undefined) return before;
  for (const entry of entries) {
    if (entry >= before) return before;
    if (query.accepts(entry)) return entry;
  }
  return before;
}
