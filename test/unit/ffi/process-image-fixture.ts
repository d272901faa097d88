/**
 * Starts itself over once, with an fd open. Takes any arguments. Prints one JSON object, from the
 * second start alone: what either start saw.
 */

import { createMemfd } from "../../../src/ffi/memfd.ts";
import { restartProcess } from "../../../src/ffi/process-image.ts";
import { openFds } from "./fd-table.ts";

const { SEQBUS_TEST_BEFORE: before, SEQBUS_TEST_TEXT: text } = process.env;
const { pid } = process;
if (before === undefined) {
  const fdsWithout = openFds().size;
  createMemfd("left-open");
  const seen = { pid, fdsWithout, fds: openFds().size };
  restartProcess({ SEQBUS_TEST_BEFORE: JSON.stringify(seen), SEQBUS_TEST_TEXT: "zwei ☃=" });
  console.log(JSON.stringify({ failed: true }));
} else {
  const now = { pid, fds: openFds().size };
  const words = process.argv.slice(2);
  console.log(JSON.stringify({ before: JSON.parse(before), now, text, words }));
}
