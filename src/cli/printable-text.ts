/**
 * Text from strangers, made fit for a terminal or a log: one line, and no character that moves the
 * cursor, changes colours or turns the reading direction. Pure.
 */

/** C0, DEL, C1, line separators, and marks of reading direction. */
const UNPRINTABLE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g;

const SHORT_ESCAPES: { readonly [character: string]: string } = {
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

/**
 * Replaces what does not print by an escape such as `\n` or `\u{1b}`.
 * @returns one line; the same text where nothing had to be replaced
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => {
    const short = SHORT_ESCAPES[character];
    return short ?? `\\u{${character.charCodeAt(0).toString(16)}}`;
  });
}

/**
 * The same for text that is JSON: what does not print becomes an escape of JSON.
 * @param json one line, without its end
 * @returns JSON for the same value
 */
export function escapedJson(json: string): string {
  return json.replace(UNPRINTABLE, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
