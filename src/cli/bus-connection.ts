/** How commands connect: to the bus that --socket names, or the default one. */

import type { Bus } from "../client/bus.ts";
import { connect } from "../client/connect.ts";

/**
 * For a command that asks for one thing: where the broker goes away, the command fails and says so.
 * @param socket the value of --socket. Throws as connect() does
 */
export async function connectOnce(socket: string | undefined): Promise<Bus> {
  return await connectTo(socket, false);
}

/** For a command that goes on until it is ended. @param reconnect whether it outlives its broker */
export async function connectTo(socket: string | undefined, reconnect: boolean): Promise<Bus> {
  return await connect(socket === undefined ? { reconnect } : { path: socket, reconnect });
}
