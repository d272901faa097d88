/**
 * A TOML text as plain values, with the place of each kept beside it.
 *
 * Knows TOML and nothing about policies. Tables are objects without a prototype, so a key such as
 * `__proto__` or `constructor` is a key like any other. Integers are bigint and floats are number,
 * so that 1.0 is never taken for a user id.
 */

import { type AST, ParseError, parseTOML } from "toml-eslint-parser";
import { assert } from "../../assert.ts";
import { FILE_START, type Position, policyErrorAt } from "./policy-error.ts";

/** Any TOML value. */
export type TomlValue = bigint | number | string | boolean | Date | TomlValue[] | TomlTable;

/** A TOML table, without a prototype. */
export interface TomlTable {
  [key: string]: TomlValue;
}

/** The way from the root of a document to a value: keys of tables, indexes of lists. */
export type TomlPath = readonly (string | number)[];

/** A parsed document. */
export interface TomlDocument {
  readonly root: TomlTable;
  /**
   * Finds where something stands in the text.
   * @param origin "key": the place of the key; "value": that of the value
   * @returns for a path that does not exist, where its nearest existing parent starts
   */
  locate(path: TomlPath, origin: "key" | "value"): Position;
}

interface Place {
  readonly key: Position;
  readonly value: Position;
}

type Container = TomlTable | TomlValue[];

/** The places of the members of each table and list. */
type Places = Map<Container, Map<string | number, Place>>;

/**
 * Parses a TOML 1.0 text.
 * @param path of the file, for messages only
 * @throws {ConfigError} CONFIG_POLICY where it is not TOML, has a key twice, or nests too deep
 */
export function parseTomlDocument(text: string, path: string): TomlDocument {
  try {
    const program = parseTOML(text, { tomlVersion: "1.0" });
    return documentOf(program.body[0]);
  } catch (error) {
    if (error instanceof ParseError) {
      const position = { line: error.lineNumber, column: error.column + 1 };
      throw policyErrorAt(path, position, `Invalid TOML: ${error.message}`, { cause: error });
    }
    // The parser and addValue() recurse into nested lists; a stack that is used up is a RangeError.
    if (error instanceof RangeError) {
      throw policyErrorAt(path, FILE_START, "Invalid TOML: nests too deep", { cause: error });
    }
    throw error;
  }
}

function documentOf(top: AST.TOMLTopLevelTable): TomlDocument {
  const root: TomlTable = Object.create(null);
  const places: Places = new Map();
  for (const item of top.body) {
    if (item.type === "TOMLKeyValue") addKeyValue(places, root, item);
    else addTable(places, root, item);
  }
  return { root, locate: (path, origin) => locate(places, root, path, origin) };
}

function addKeyValue(places: Places, table: TomlTable, item: AST.TOMLKeyValue): void {
  const names = item.key.keys.map(keyName);
  const last = names.length - 1;
  const parent = enter(places, table, item.key, names.slice(0, last), positionOf(item.key));
  const node = item.key.keys[last];
  const name = names[last];
  assert(node !== undefined, "a TOML key has at least one part");
  assert(name !== undefined, "a TOML key has at least one part");
  addValue(places, parent, name, item.value, positionOf(node));
}

function addTable(places: Places, root: TomlTable, item: AST.TOMLTable): void {
  const table = enter(places, root, item.key, item.resolvedKey, positionOf(item));
  for (const member of item.body) addKeyValue(places, table, member);
}

/**
 * Goes along a path, making the tables and lists that do not exist yet.
 * @param key whose parts are the strings of the path, in order
 * @param valueAt where a container that is made here starts
 */
function enter(
  places: Places,
  from: TomlTable,
  key: AST.TOMLKey,
  path: TomlPath,
  valueAt: Position,
): TomlTable {
  let container: Container = from;
  let part = 0;
  for (const [depth, step] of path.entries()) {
    if (typeof step === "string") part += 1;
    let next: TomlValue | undefined = memberOf(container, step);
    if (next === undefined) {
      const node = key.keys[part - 1] ?? key;
      next = typeof path[depth + 1] === "number" ? [] : emptyTable();
      addMember(places, container, step, next, { key: positionOf(node), value: valueAt });
    }
    assert(isContainer(next), "the parser refuses keys below a plain value");
    container = next;
  }
  assert(!Array.isArray(container), "the parser resolves lists to one of their tables");
  return container;
}

function addValue(
  places: Places,
  container: Container,
  name: string | number,
  node: AST.TOMLContentNode,
  keyAt: Position,
): void {
  const place = { key: keyAt, value: positionOf(node) };
  if (node.type === "TOMLValue") {
    addMember(places, container, name, node.kind === "integer" ? node.bigint : node.value, place);
    return;
  }
  if (node.type === "TOMLArray") {
    const list: TomlValue[] = [];
    addMember(places, container, name, list, place);
    for (const [index, element] of node.elements.entries()) {
      addValue(places, list, index, element, positionOf(element));
    }
    return;
  }
  const table = emptyTable();
  addMember(places, container, name, table, place);
  for (const member of node.body) addKeyValue(places, table, member);
}

function addMember(
  places: Places,
  container: Container,
  name: string | number,
  value: TomlValue,
  place: Place,
): void {
  assert(memberOf(container, name) === undefined, "the parser refuses keys that stand twice");
  (container as Record<string | number, TomlValue>)[name] = value;
  const members = places.get(container) ?? new Map<string | number, Place>();
  members.set(name, place);
  places.set(container, members);
}

function locate(
  places: Places,
  root: TomlTable,
  path: TomlPath,
  origin: "key" | "value",
): Position {
  let value: TomlValue | undefined = root;
  let place: Place = { key: FILE_START, value: FILE_START };
  for (const step of path) {
    const next: Place | undefined = isContainer(value) ? places.get(value)?.get(step) : undefined;
    if (!isContainer(value) || next === undefined) return place.value;
    place = next;
    value = memberOf(value, step);
  }
  return place[origin];
}

function isContainer(value: TomlValue | undefined): value is Container {
  return typeof value === "object" && !(value instanceof Date);
}

function memberOf(container: Container, name: string | number): TomlValue | undefined {
  return (container as Record<string | number, TomlValue | undefined>)[name];
}

function emptyTable(): TomlTable {
  return Object.create(null);
}

function keyName(node: AST.TOMLBare | AST.TOMLQuoted): string {
  return node.type === "TOMLBare" ? node.name : node.value;
}

/** The parser counts columns from 0. */
function positionOf(node: AST.TOMLNode): Position {
  return { line: node.loc.start.line, column: node.loc.start.column + 1 };
}
