/** Changes to valid bytes that come near the edges of a format. Knows no format. */

import type { Random } from "./fuzz-run.ts";

const INTERESTING_BYTES = [0x00, 0x01, 0x0f, 0x10, 0x7f, 0x80, 0x81, 0xc0, 0xdf, 0xfe, 0xff];
const INTERESTING_WORDS = [
  0, 1, 7, 8, 15, 16, 17, 24, 4096, 4112, 4113, 65_535, 65_536, 65_537, 0x7fff_ffff, 0x8000_0000,
  0xffff_fff0, 0xffff_fff8, 0xffff_ffff,
];

type Mutation = (input: Uint8Array, random: Random) => Uint8Array;

const MUTATIONS: readonly Mutation[] = [
  function flipBit(input, random) {
    const at = random.below(input.byteLength);
    return input.with(at, (input[at] ?? 0) ^ (1 << random.below(8)));
  },
  function setByte(input, random) {
    return input.with(random.below(input.byteLength), random.pick(INTERESTING_BYTES));
  },
  function setWord(input, random) {
    const output = input.slice();
    if (output.byteLength < 4) return output;
    const at = random.below(output.byteLength >>> 2) * 4;
    const word = random.pick(INTERESTING_WORDS) + random.below(3) - 1;
    new DataView(output.buffer).setUint32(at, word, random.oneIn(2));
    return output;
  },
  function cutEnd(input, random) {
    return input.slice(0, random.below(input.byteLength));
  },
  function cutEndAligned(input, random) {
    return input.slice(0, random.below(input.byteLength / 8 + 1) * 8);
  },
  function append(input, random) {
    return joinBytes([input, random.bytes(1 + random.below(16))]);
  },
  function repeatPart(input, random) {
    const from = random.below(input.byteLength);
    const to = from + random.below(input.byteLength - from) + 1;
    return joinBytes([input.slice(0, to), input.slice(from, to), input.slice(to)]);
  },
];

/** One to four changes at random places. An empty input comes back as it is. */
export function mutate(input: Uint8Array, random: Random): Uint8Array {
  let output = input;
  for (let left = 1 + random.below(4); left > 0 && output.byteLength > 0; left -= 1) {
    output = random.pick(MUTATIONS)(output, random);
  }
  return output;
}

/** The parts one behind the other, in fresh memory. */
export function joinBytes(parts: readonly Uint8Array[]): Uint8Array {
  const output = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    output.set(part, at);
    at += part.byteLength;
  }
  return output;
}
