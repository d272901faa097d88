/**
 * Runs the callback of a service for one private channel, and decides who is to hear of its failure.
 * The other side can bring about nearly any error of this library in it, by leaving, by garbage, by
 * files that are too large; so none of these may end the program.
 */

import { OPERATING_ERRORS } from "../errors.ts";
import { throwOutside } from "./callbacks.ts";
import type { Channel } from "./channel.ts";

/** Takes a private channel, which is the callback's to close. */
export type OnChannel = (channel: Channel) => void | Promise<void>;

/**
 * Calls it. Where it throws or rejects the channel is closed.
 * @param noteFailure told of operating errors of this library; whatever else it throws is thrown
 *   again outside, as an uncaught error of the program
 */
export async function callWithChannel(
  onChannel: OnChannel,
  channel: Channel,
  noteFailure: (error: Error) => void,
): Promise<void> {
  try {
    await onChannel(channel);
  } catch (error) {
    void channel.close();
    if (isOperatingError(error)) noteFailure(error);
    else throwOutside(error);
  }
}

function isOperatingError(error: unknown): error is Error {
  return OPERATING_ERRORS.some((known) => error instanceof known);
}
