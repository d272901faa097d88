/** JSON without loss: numbers stay as they are written, since many have no place in a double. */

/** Of ECMAScript 2026, and not in the types yet. */
interface ExactJson {
  rawJSON(text: string): unknown;
}

/** What a reviver gets as its third argument, for primitive values. */
interface ReviverContext {
  readonly source?: string;
}

/**
 * JSON.parse() for values that are only handed on to JSON.stringify(). A number becomes an object
 * that stands for its source text, such as 12345678901234567890 or 1.10.
 * @throws {SyntaxError} where the text is not JSON
 */
export function parseExactJson(text: string): unknown {
  return JSON.parse(text, (_key: string, value: unknown, context?: ReviverContext) => {
    const source = context?.source;
    if (typeof value !== "number" || source === undefined) return value;
    return (JSON as unknown as ExactJson).rawJSON(source);
  });
}
