/** A program whose callback rejects for the first message, and a message that waits behind it. */

import { Message } from "../../../src/client/message.ts";
import { ReceivedFds } from "../../../src/client/received-fds.ts";
import { Subscription } from "../../../src/client/subscription.ts";
import { ENCODING } from "../../../src/protocol/opcodes.ts";
import { SENDER } from "./sender-fixture.ts";

const HOST = {
  unsubscribe: async () => {},
  noteLost: () => {},
  noteFill: () => {},
  noteTaken: () => {},
  noteEnded: () => {},
};

process.on("unhandledRejection", (error) => console.log(`uncaught: ${(error as Error).message}`));

const subscription = new Subscription("a", HOST, {
  concurrency: 1,
  async onMessage({ bytes: [number] }) {
    console.log("called", number);
    if (number === 1) throw new Error("first");
  },
});
for (const number of [1, 2]) {
  const body = Uint8Array.of(number);
  subscription.accept(
    new Message("a", SENDER, ENCODING.BYTES, body, 0, 1, ReceivedFds.NONE, 0, undefined),
  );
}
