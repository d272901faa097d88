/** How commands connect: to the bus that --socket names, or the default one. */

import type { Bus } from "../client/bus.ts";
import { type ConnectOptions, connect } from "../client/connect.ts";

/**
 * For a command that asks for one thing: where the broker goes away, the command fails and says so.
 * @param socket the value of --socket. Throws as connect() does
 */
export async function connectOnce(socket: string | undefined): Promise<Bus> {
  return await connectTo(socket, false);
}

/**
 * For a command that waits for others anyway: also for the broker. Does not outlive it.
 * @throws {TimeoutError} TIMEOUT_CONNECT, with what the last attempt met as its cause
 */
export async function awaitBus(
  socket: string | undefined,
  limits: Pick<ConnectOptions, "timeoutMs" | "signal">,
): Promise<Bus> {
  const path = socket === undefined ? {} : { path: socket };
  return await connect({ ...path, ...limits, reconnect: false, waitForBroker: true });
}

/** For a command that goes on until it is ended. @param reconnect whether it outlives its broker */
export async function connectTo(socket: string | undefined, reconnect: boolean): Promise<Bus> {
  return await connect(socket === undefined ? { reconnect } : { path: socket, reconnect });
}
