/**
 * A subscriber that keeps books: it ends with an error where a message is missing, doubled or out of
 * order without a gap that says so. Arguments: the path of the bus, "lane" or "in-band", in how many
 * of 100 turns it reads, and a seed. Writes "ready" once it is subscribed; for each line on standard
 * input it takes all that the broker has for it, and writes its books as JSON.
 */

import { createInterface } from "node:readline";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { closeFd } from "../../src/ffi/owned-fd.ts";
import { OPCODE } from "../../src/protocol/opcodes.ts";
import { RandomNumbers } from "../support/random-numbers.ts";
import { mapOf, RawClient, type RawFrame } from "../support/raw-client.ts";

/** What a subscriber got, and what it was told that it lost. */
export interface Books {
  received: number;
  lost: number;
}

const books: Books = { received: 0, lost: 0 };
/** Number of the next message on each topic; unknown before the first one. */
const next = new Map<number, number>();
let lastOverall = -1;

function noteGap(gap: RawFrame): void {
  const count = Number(mapOf(gap)["count"]);
  const expected = next.get(gap.id);
  if (expected === undefined) throw new Error("A gap came before the first message of its topic");
  next.set(gap.id, expected + count);
  books.lost += count;
}

function noteMessage(frame: RawFrame): void {
  const view = new DataView(frame.body.buffer);
  const overall = view.getUint32(0, true);
  const number = view.getUint32(4, true);
  const wanted = next.get(frame.id) ?? number;
  if (number !== wanted) throw new Error(`Topic ${frame.id}: got ${number}, wanted ${wanted}`);
  if (overall <= lastOverall) throw new Error(`${overall} after ${lastOverall}`);
  next.set(frame.id, number + 1);
  lastOverall = overall;
  books.received += 1;
  for (const fd of frame.fds) closeFd(fd);
}

function read(client: RawClient): void {
  for (const frame of client.received()) {
    if (frame.opcode === OPCODE.GAP) noteGap(frame);
    if (frame.opcode === OPCODE.MESSAGE) noteMessage(frame);
  }
}

if (import.meta.main) {
  const [path = "", way, eagerness, seed] = process.argv.slice(2);
  const client = await RawClient.open(path, { lane: way === "lane" });
  await client.subscribe("t.*");
  let questions = 0;
  const input = createInterface({ input: process.stdin });
  input.on("line", () => {
    questions += 1;
  });
  // The test is gone: nobody would end this process.
  input.on("close", () => process.exit(1));
  process.stdout.write("ready\n");
  const random = new RandomNumbers(Number(seed));
  for (;;) {
    if (questions > 0) {
      await client.sync();
      read(client);
      questions -= 1;
      process.stdout.write(`${JSON.stringify(books)}\n`);
    } else if (random.below(100) < Number(eagerness)) read(client);
    await (eagerness === "100" ? nextTurn() : sleep(1));
  }
}
